# Reference values of mixed models whose residuals are not all alike: Rscript tests/reference/residual.R [OUT.json]
args <- commandArgs(TRUE)
folder <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))))
source(file.path(folder, "common.R")); source(file.path(folder, "dense.R"))
suppressPackageStartupMessages(library(nlme))

term <- function(group, effects = "1", correlated = TRUE, rank_one = FALSE) list(group = group, effects = effects, correlated = correlated, rank_one = rank_one)
by <- function(column) list(kind = "by", column = column, text = paste0("by(", column, ")"))
ar1 <- function(time, group) list(kind = "ar1", column = time, group = group, text = paste0("ar1(", time, " | ", group, ")"))
iid <- list(kind = "iid", text = "iid")
case <- function(name, data, fixed, random, residual, lme = NULL, method = "reml", ...) {
  each <- vapply(random, function(r) paste0("(", r$effects, if (r$correlated) " | " else " || ", r$group, ")"), "")
  list(name = name, data = data, formula = paste(c(fixed, each), collapse = " + "), residual = residual$text, method = method,
    parts = list(fixed = fixed, random = random, residual = residual, lme = lme), ...)
}
growth <- function(data, at, ..., visit = NULL) {
  common <- if (data == "waves") list(outcome = "bsi", time = "month", patient = "patient", cohort = "cohort", reference = "before", baseline = 0, better = "lower") else
    list(outcome = "sipp", time = "year", patient = "patient", cohort = "cohort", reference = "before", baseline = 0, better = "higher")
  list(call = c(common, list(...)), at = at, visit = visit)
}
slope <- list(term("patient", "1 + month")); intercept <- list(term("patient"))
three <- list(cohort = c("before", "after", "during"))
weight <- list(weight = "(30 + month_during + age) / 60")
season <- list(sine = "sin(2 * 3.141592653589793 * Time)", cosine = "cos(2 * 3.141592653589793 * Time)")

cases <- list(
  case("sleepstudy intercept ar1", "sleepstudy", "Reaction ~ Days", list(term("Subject")), ar1("Days", "Subject"), known = 1736.19106356, known_rho = 0.653133,
    lme = "lme(Reaction ~ Days, d, ~ 1 | Subject, corAR1(form = ~ Days | Subject), method = method, control = tight)"),
  case("sleepstudy intercept ar1 ml", "sleepstudy", "Reaction ~ Days", list(term("Subject")), ar1("Days", "Subject"), method = "ml",
    lme = "lme(Reaction ~ Days, d, ~ 1 | Subject, corAR1(form = ~ Days | Subject), method = method, control = tight)"),
  case("sleepstudy slope ar1", "sleepstudy", "Reaction ~ Days", list(term("Subject", "1 + Days", rank_one = TRUE)), ar1("Days", "Subject"),
    lme = "lme(Reaction ~ Days, d, ~ 1 + Days | Subject, corAR1(form = ~ Days | Subject), method = method, control = tight)"),
  case("orthodont slope by Sex", "orthodont", "distance ~ age * Sex", list(term("Subject", "1 + age")), by("Sex"), known = 411.522480, known_ratio = 0.408847,
    levels = list(Sex = c("Male", "Female")), lme = "lme(distance ~ age * Sex, d, ~ 1 + age | Subject, weights = varIdent(form = ~ 1 | Sex), method = method, control = tight)"),
  case("orthodont slope by Sex ml", "orthodont", "distance ~ age * Sex", list(term("Subject", "1 + age")), by("Sex"), method = "ml",
    levels = list(Sex = c("Male", "Female")), lme = "lme(distance ~ age * Sex, d, ~ 1 + age | Subject, weights = varIdent(form = ~ 1 | Sex), method = method, control = tight)"),
  case("ovary intercept ar1", "ovary", "follicles ~ sine + cosine", list(term("Mare")), ar1("order", "Mare"), known = 1550.446698, known_rho = 0.607442,
    compute = season, lme = "lme(follicles ~ sine + cosine, d, ~ 1 | Mare, corAR1(form = ~ order | Mare), method = method, control = tight)"),
  case("waves slope by cohort", "waves", "bsi ~ month * cohort + age + sex", slope, by("cohort"),
    lme = "lme(bsi ~ month * cohort + age + sex, d, ~ 1 + month | patient, weights = varIdent(form = ~ 1 | cohort), method = method, control = tight)",
    cohorts = growth("waves", c(0, 12, 24), shape = "linear", adjust = "age + sex", random = "slope", residual = "by_cohort")),
  case("waves intercept by visit", "waves", "bsi ~ visit * cohort", intercept, by("month"),
    lme = "lme(bsi ~ visit * cohort, d, ~ 1 | patient, weights = varIdent(form = ~ 1 | visit), method = method, control = tight)",
    cohorts = growth("waves", c(0, 6, 12, 18, 24), shape = "visits", random = "intercept", residual = "by_visit", visit = "visit")),
  case("waves intercept by visit ml", "waves", "bsi ~ month * cohort", intercept, by("month"), method = "ml",
    lme = "lme(bsi ~ month * cohort, d, ~ 1 | patient, weights = varIdent(form = ~ 1 | visit), method = method, control = tight)",
    cohorts = growth("waves", c(0, 12, 24), shape = "linear", random = "intercept", residual = "by_visit", method = "ml")),
  case("waves uncorrelated by cohort", "waves", "bsi ~ month * cohort", list(term("patient", "1 + month", FALSE)), by("cohort"),
    lme = "lme(bsi ~ month * cohort, d, list(patient = pdDiag(~ 1 + month)), weights = varIdent(form = ~ 1 | cohort), method = method, control = tight)",
    cohorts = growth("waves", c(0, 12, 24), shape = "linear", random = "uncorrelated", residual = "by_cohort")),
  case("waves intercept ar1", "waves", "bsi ~ month * cohort", intercept, ar1("month", "patient"),
    lme = "lme(bsi ~ month * cohort, d, ~ 1 | patient, corAR1(form = ~ index | patient), method = method, control = tight)",
    cohorts = growth("waves", c(0, 12, 24), shape = "linear", random = "intercept", residual = "ar1")),
  case("waves patient in site ar1", "waves", "bsi ~ month * cohort", list(term("site"), term("site:patient")), ar1("month", "patient"),
    lme = "lme(bsi ~ month * cohort, d, ~ 1 | site / patient, corAR1(form = ~ index | site / patient), method = method, control = tight)"),
  case("waves therapist beside patient by cohort", "waves", "bsi ~ month * cohort", list(term("patient"), term("therapist")), by("cohort")),
  case("irregular intercept car1", "irregular", "sipp ~ year * cohort", list(term("patient")), ar1("year", "patient"), levels = three,
    lme = "lme(sipp ~ year * cohort, d, ~ 1 | patient, corCAR1(form = ~ year | patient), method = method, control = tight)",
    cohorts = growth("irregular", c(0, 1.5, 3), shape = "linear", random = "intercept", residual = "ar1")),
  case("irregular intercept car1 ml", "irregular", "sipp ~ year * cohort", list(term("patient")), ar1("year", "patient"), method = "ml", levels = three,
    lme = "lme(sipp ~ year * cohort, d, ~ 1 | patient, corCAR1(form = ~ year | patient), method = method, control = tight)"),
  case("waves slope precision", "waves", "bsi ~ month * cohort", slope, iid, precision = "weight", compute = weight,
    lme = "lme(bsi ~ month * cohort, d, ~ 1 + month | patient, weights = varFixed(~ 1 / weight), method = method, control = tight)",
    cohorts = growth("waves", c(0, 12, 24), shape = "linear", random = "slope", precision = "weight")),
  case("waves slope precision ml", "waves", "bsi ~ month * cohort", slope, iid, precision = "weight", compute = weight, method = "ml",
    lme = "lme(bsi ~ month * cohort, d, ~ 1 + month | patient, weights = varFixed(~ 1 / weight), method = method, control = tight)"),
  case("waves slope by cohort precision", "waves", "bsi ~ month * cohort", slope, by("cohort"), precision = "weight", compute = weight,
    lme = "lme(bsi ~ month * cohort, d, ~ 1 + month | patient, weights = varComb(varIdent(form = ~ 1 | cohort), varFixed(~ 1 / weight)), method = method, control = tight)"),
  case("waves intercept ar1 precision", "waves", "bsi ~ month * cohort", intercept, ar1("month", "patient"), precision = "weight", compute = weight,
    lme = "lme(bsi ~ month * cohort, d, ~ 1 | patient, corAR1(form = ~ index | patient), varFixed(~ 1 / weight), method = method, control = tight)"),
  case("small negative ar1", "small", "sway ~ month * cohort", list(term("patient")), ar1("month", "patient"), levels = three,
    lme = "lme(sway ~ month * cohort, d, ~ 1 | patient, corAR1(-0.3, form = ~ index | patient), method = method, control = tight)"))

frame_of <- function(case) {
  d <- read_table(case$data, case$levels)
  for (k in names(case$compute)) d[[k]] <- eval(parse(text = case$compute[[k]]), d)
  if (!is.null(d$month)) d$index <- d$month / min(d$month[d$month > 0])
  d
}

# Columns, groups and the numbering of the parameters of one random term.
random_part <- function(term, d) {
  Z <- model.matrix(as.formula(paste("~", term$effects)), d)
  groups <- do.call(interaction, c(d[strsplit(term$group, ":")[[1]]], drop = TRUE))
  q <- ncol(Z)
  if (term$rank_one) return(rank_one_part(term, Z, groups))
  at <- if (term$correlated) pairs_of(q) else cbind(row = seq_len(q), col = seq_len(q))
  list(groups = groups, at = at, size = nrow(at), Z = Z, q = q, term = term,
    covariance = function(rows) {
      same <- outer(groups[rows], groups[rows], "==") * 1
      linear(lapply(seq_len(nrow(at)), function(k) same * (Z[rows, , drop = FALSE] %*% unit(q, at[k, 1], at[k, 2]) %*% t(Z[rows, , drop = FALSE]))))
    },
    phi = function(theta) if (term$correlated) log_cholesky(theta, q) else exp(2 * theta),
    start = function(s2) { s <- sqrt(s2 / 4 / colMeans(Z^2)); if (term$correlated) log_cholesky_of(diag(s^2, q)) else log(s) })
}

# On the boundary G = aa', not linear in a: what is left of the model when the direction without variance is dropped.
rank_one_part <- function(term, Z, groups) {
  q <- ncol(Z); e <- diag(q)
  covariance <- function(rows) function(phi) {
    same <- outer(groups[rows], groups[rows], "==") * 1; Zr <- Z[rows, , drop = FALSE]
    of <- function(G) same * (Zr %*% G %*% t(Zr))
    at <- pairs_of(q)[, 2:1, drop = FALSE]
    list(V = of(tcrossprod(phi)), D = lapply(seq_len(q), function(j) of(outer(e[j, ], phi) + outer(phi, e[j, ]))),
      DD = setNames(lapply(seq_len(nrow(at)), function(k) of(outer(e[at[k, 1], ], e[at[k, 2], ]) + outer(e[at[k, 2], ], e[at[k, 1], ]))), paste(at[, 1], at[, 2], sep = ",")))
  }
  list(groups = groups, size = q, Z = Z, q = q, term = term, covariance = covariance, phi = identity, start = function(s2) sqrt(s2 / 4 / colMeans(Z^2)))
}

# The same model with all of G in its parameters, at the same G: where no slope of the criterion may point inwards, and for
# Kenward-Roger, which keeps all of them.
unreduced <- function(case, d, model, phi) {
  full <- case
  full$parts$random <- lapply(full$parts$random, modifyList, list(rank_one = FALSE))
  pieces <- model$pieces(phi)
  G <- tcrossprod(pieces[[1]])
  at <- exactly(model_of(full, d), unlist(c(list(G[lower.tri(G, TRUE)]), pieces[-1])))
  slope <- matrix(c(at$gradient[1], at$gradient[2] / 2, at$gradient[2] / 2, at$gradient[3]), 2)
  out <- c(pieces[[1]][2], -pieces[[1]][1]) / sqrt(sum(pieces[[1]]^2))
  stopifnot(length(pieces[[1]]) == 2, sum(out * (slope %*% out)) > 1e-6)
  at
}

# Residual covariance of a block's rows, divided by what is known of each row's precision.
residual_part <- function(residual, d, precision) {
  shrink <- if (is.null(precision)) rep(1, nrow(d)) else 1 / sqrt(d[[precision]])
  if (residual$kind == "ar1") {
    t <- d[[residual$column]]; g <- d[[residual$group]]
    step <- min(unlist(lapply(split(t, g), function(x) diff(sort(x)))))
    covariance <- function(rows) {
      same <- outer(g[rows], g[rows], "==")
      autoregressive(abs(outer(t[rows], t[rows], "-")) / step * same, mask = same * outer(shrink[rows], shrink[rows]))
    }
    return(list(covariance = covariance, size = 2, step = step, phi = function(theta) c(exp(theta[1]), tanh(theta[2])), start = function(s2) c(log(s2 / 2), 0.4)))
  }
  level <- if (residual$kind == "by") factor(d[[residual$column]]) else factor(rep("", nrow(d)))
  list(covariance = function(rows) linear(lapply(levels(level), function(l) diag((level[rows] == l) * shrink[rows]^2, length(rows)))),
    size = nlevels(level), levels = levels(level), phi = exp, start = function(s2) rep(log(s2 / 2), nlevels(level)))
}

model_of <- function(case, d) {
  random <- lapply(case$parts$random, random_part, d = d)
  residual <- residual_part(case$parts$residual, d, case$precision)
  parts <- c(random, list(residual)); sizes <- vapply(parts, `[[`, 0, "size")
  widest <- Filter(function(g) all(vapply(random, function(r) all(table(r$groups, g) |> apply(1, function(x) sum(x > 0)) == 1), TRUE)), lapply(random, `[[`, "groups"))
  blocks <- unname(split(seq_len(nrow(d)), if (length(widest)) widest[[1]] else rep(1, nrow(d))))
  each <- lapply(blocks, function(rows) summed(lapply(parts, function(part) part$covariance(rows)), sizes))
  pieces <- function(x) split(x, rep(seq_along(sizes), sizes))
  noise <- function(phi) { out <- matrix(0, nrow(d), nrow(d)); for (rows in blocks) out[rows, rows] <- residual$covariance(rows)(tail(phi, residual$size))$V; out }
  list(y = d[[all.vars(as.formula(case$parts$fixed))[1]]], X = model.matrix(as.formula(case$parts$fixed), d), blocks = blocks, reml = case$method == "reml",
    covariance = function(phi, values = FALSE) lapply(each, function(f) f(phi)), noise = noise, random = random, residual = residual, pieces = pieces,
    phi = function(theta) unlist(Map(function(part, x) part$phi(x), parts, pieces(theta)), use.names = FALSE),
    start = function(s2) unlist(lapply(parts, function(part) part$start(s2)), use.names = FALSE))
}

variance_rows <- function(case, model, phi) {
  row <- function(group, effect = "", other = "", sd = NA, correlation = NA) data.frame(group = group, effect = effect, other = other, sd = sd, correlation = correlation)
  rows <- list(); pieces <- model$pieces(phi)
  for (k in seq_along(model$random)) {
    part <- model$random[[k]]; G <- if (part$term$rank_one) tcrossprod(pieces[[k]]) else matrix(0, part$q, part$q)
    if (!part$term$rank_one) { G[part$at] <- pieces[[k]]; G[part$at[, 2:1, drop = FALSE]] <- pieces[[k]] }
    s <- sqrt(diag(G)); names <- colnames(part$Z)
    rows <- c(rows, lapply(seq_along(s), function(i) row(part$term$group, names[i], sd = s[i])))
    if (part$term$correlated && part$q == 2) rows <- c(rows, list(row(part$term$group, names[1], names[2], correlation = G[1, 2] / s[1] / s[2])))
  }
  last <- pieces[[length(pieces)]]; residual <- case$parts$residual
  c(rows, switch(residual$kind, iid = list(row("Residual", sd = sqrt(last))),
    by = Map(function(l, v) row("Residual", paste0(residual$column, "[", l, "]"), sd = sqrt(v)), model$residual$levels, last, USE.NAMES = FALSE),
    ar1 = list(row("Residual", sd = sqrt(last[1])), row("Residual", residual$column, sprintf("%g apart", model$residual$step), correlation = last[2]))))
}

tight <- lmeControl(maxIter = 1000, msMaxIter = 5000, msMaxEval = 20000, niterEM = 100, tolerance = 1e-10, msTol = 1e-12, returnObject = TRUE)
from_nlme <- function(case, d) {
  if (is.null(case$parts$lme)) return(NULL)
  assign("d", d, globalenv()); assign("method", toupper(case$method), globalenv())
  eval(parse(text = case$parts$lme), globalenv())
}

grid_of <- function(case, d) {
  q <- case$cohorts
  if (is.null(q)) return(NULL)
  m <- lm(as.formula(case$parts$fixed), d)
  e <- if (!is.null(q$visit)) emmeans(m, ~ cohort * visit) else emmeans(m, as.formula(paste("~ cohort *", q$call$time)), at = setNames(list(q$at), q$call$time))
  cells <- as.data.frame(e@grid)
  list(cells = data.frame(cohort = as.character(cells$cohort), time = if (!is.null(q$visit)) as.numeric(sub("^m", "", cells$visit)) else cells[[q$call$time]]),
    weights = unname(e@linfct), baseline = 0)
}

# lmer's weights are precisions too: a second witness where nothing else is special, and a judge of dense.R. pbkrtest leaves weights out.
from_lmer <- function(case, d, dense) {
  assign("d", d, globalenv()); f <- as.formula(case$formula, globalenv())
  m <- eval(bquote(lmerTest::lmer(.(f), data = d, REML = .(case$method == "reml"), weights = weight, control = control)), globalenv())
  b <- coefficients_by(m, "Satterthwaite"); mine <- dense$fixed$satterthwaite
  for (column in names(b)[-1]) stopifnot(max(abs(mine[[column]] - b[[column]]) / pmax(1, abs(b[[column]]))) < if (column == "df") 2e-4 else 1e-6)
  with_rule(list(satterthwaite = columns_of(b)), estimate = "fixed", std_error = "std_error", df = "df")
}

answers_of <- function(case) {
  started <- proc.time()[["elapsed"]]
  d <- frame_of(case); model <- model_of(case, d); theirs <- from_nlme(case, d)
  s2 <- var(resid(lm(as.formula(case$parts$fixed), d)))
  at <- minimised(model, list(model$start(s2), model$start(3 * s2)))
  boundary <- any(vapply(model$random, function(part) part$term$rank_one, TRUE))
  full <- if (boundary) unreduced(case, d, model, at$phi) else at
  interaction <- grep(":", colnames(model$X), value = TRUE)
  joint <- list(if (length(interaction) > 1) interaction else setdiff(colnames(model$X), "(Intercept)"))
  joint <- Filter(function(j) length(j) > 1, joint)
  out <- c(case[setdiff(names(case), c("parts", "cohorts"))], list(nlme_call = case$parts$lme), dense_answers(case, model, at, joint, grid_of(case, d), full))
  out$criterion$boundary <- boundary
  if (!is.null(case$cohorts)) { out$cohorts$call <- case$cohorts$call; out$cohorts$at <- case$cohorts$at }
  out$variances <- with_rule(list(table = columns_of(do.call(rbind, unname(variance_rows(case, model, at$phi))))), sd = "sd", correlation = "correlation")
  out$fitted <- with_rule(list(first = (model$y - drop(model$noise(at$phi) %*% at$Py))[1:6], fixed = unname(drop(model$X %*% at$b))[1:6]), first = "ranef", fixed = "fixed")
  if (!is.null(case$known_rho)) stopifnot(abs(tail(at$phi, 1) - case$known_rho) < 1e-5)
  if (!is.null(case$known_ratio)) stopifnot(abs(sqrt(at$phi[5] / at$phi[4]) - case$known_ratio) < 1e-5)
  if (!is.null(theirs)) {
    value <- -2 * as.numeric(logLik(theirs))
    # lme divides the ML covariance of the coefficients by n - p: not compared.
    stopifnot(value - at$criterion > -1e-8, value - at$criterion < 1e-3, abs(fixef(theirs) - at$b) < 1e-2 * sqrt(diag(at$P0)))
    if (model$reml) stopifnot(abs(sqrt(diag(vcov(theirs))) / sqrt(diag(at$P0)) - 1) < 1e-2)
    out$nlme <- with_rule(list(value = value, above = value - at$criterion), value = "criterion")
  }
  if (!is.null(case$precision) && case$residual == "iid") out$lmer <- from_lmer(case, d, out)
  message(sprintf("%-42s %.8f  decrement %.1e  curvature %.2e  spread %.1e  nlme above %.1e  %.1fs  %s", case$name, at$criterion, at$decrement, at$curvature,
    at$spread, if (is.null(theirs)) NA else out$nlme$above, proc.time()[["elapsed"]] - started, paste(signif(at$phi, 4), collapse = " ")))
  out
}

results <- lapply(cases, answers_of)
versions <- lapply(setNames(nm = c("nlme", "lme4", "lmerTest", "pbkrtest", "emmeans", "jsonlite")), function(p) as.character(packageVersion(p)))
out <- if (length(args) > 0) args[1] else file.path(here, "residual.json")
write(toJSON(list(software = c(R = R.version$version.string, versions), rules = rules, cases = results), auto_unbox = TRUE, digits = NA, na = "null", null = "null", pretty = TRUE), out)
