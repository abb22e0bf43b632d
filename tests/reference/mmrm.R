# Reference values of models for repeated measures: Rscript tests/reference/mmrm.R [OUT.json]
args <- commandArgs(TRUE)
folder <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))))
source(file.path(folder, "common.R")); source(file.path(folder, "dense.R"))
suppressPackageStartupMessages(library(nlme))

waves <- list(data = "waves", outcome = "bsi", visit = "month", patient = "patient", cohort = "cohort", reference = "before", better = "lower")
orthodont <- list(data = "orthodont", outcome = "distance", visit = "age", patient = "Subject", cohort = "Sex", reference = "Male", better = "higher")
small <- list(data = "small", outcome = "bsi", visit = "month", patient = "patient", cohort = "cohort", reference = "before", better = "lower")
fev <- list(data = "fev", outcome = "fev1", visit = "visit", patient = "patient", cohort = "arm", reference = "PBO", better = "higher", levels = list(sex = c("Male", "Female")))
case <- function(data, covariance, method = "reml", adjust = NULL, by_cohort = FALSE, ...) {
  one <- modifyList(data, list(...))
  last <- if (is.null(one$until)) "" else paste(" until", one$until)
  name <- paste0(one$data, " ", if (one$data == "small") paste0(one$outcome, " "), covariance, if (by_cohort) " by cohort", if (method == "ml") " ml", if (!is.null(adjust)) " adjusted", last)
  c(list(name = name, covariance = covariance, method = method, adjust = adjust, by_cohort = by_cohort), one)
}
cases <- list(
  case(waves, "unstructured", adjust = "age + sex"), case(waves, "unstructured", "ml", adjust = "age + sex"),
  case(waves, "unstructured", until = 12), case(waves, "unstructured", until = 18), case(waves, "unstructured", by_cohort = TRUE, until = 12),
  case(waves, "unstructured", by_cohort = TRUE, adjust = "age + sex"), case(waves, "toeplitz"), case(waves, "toeplitz", "ml"),
  case(waves, "ar1", adjust = "age + sex"), case(waves, "ar1", "ml"), case(waves, "heterogeneous-ar1"), case(waves, "heterogeneous-ar1", "ml"),
  case(waves, "compound-symmetry", adjust = "age + sex"), case(waves, "compound-symmetry", "ml"),
  case(waves, "heterogeneous-ar1", by_cohort = TRUE), case(waves, "toeplitz", by_cohort = TRUE),
  case(orthodont, "unstructured", known = 414.034801), case(orthodont, "unstructured", "ml"), case(orthodont, "unstructured", by_cohort = TRUE),
  case(orthodont, "toeplitz"), case(orthodont, "ar1"), case(orthodont, "heterogeneous-ar1"), case(orthodont, "compound-symmetry"),
  case(orthodont, "ar1", by_cohort = TRUE), case(orthodont, "compound-symmetry", "ml", by_cohort = TRUE),
  case(small, "unstructured"), case(small, "unstructured", by_cohort = TRUE), case(small, "heterogeneous-ar1"),
  case(small, "toeplitz", outcome = "seesaw"), case(small, "ar1", outcome = "seesaw"), case(small, "compound-symmetry", outcome = "seesaw"),
  case(fev, "unstructured", adjust = "race + sex"), case(fev, "unstructured", "ml", adjust = "race + sex"), case(fev, "ar1", by_cohort = TRUE))

frame_of <- function(case) {
  d <- read_table(case$data, case$levels)
  if (!is.null(case$until)) d <- d[d[[case$visit]] <= case$until, ]
  d[[case$cohort]] <- relevel(d[[case$cohort]], case$reference)
  d$index <- match(d[[case$visit]], sort(unique(d[[case$visit]])))
  d[[case$visit]] <- factor(d[[case$visit]])
  d[[case$patient]] <- factor(d[[case$patient]])
  d[order(d[[case$patient]], d$index), ]
}
formula_of <- function(case) if (!is.null(case$formula)) case$formula else as.formula(paste(c(paste0(case$outcome, " ~ ", case$visit, " * ", case$cohort), case$adjust), collapse = " + "))

# The visits' covariance of each block's patient, from one set of parameters or one per cohort.
model_of <- function(case, d) {
  m <- nlevels(d[[case$visit]]); cohorts <- if (case$by_cohort) nlevels(d[[case$cohort]]) else 1
  s <- structures[[case$covariance]](m)
  blocks <- unname(split(seq_len(nrow(d)), d[[case$patient]]))
  seen <- lapply(blocks, function(rows) d$index[rows])
  of <- if (cohorts == 1) rep(1, length(blocks)) else vapply(blocks, function(rows) as.integer(d[[case$cohort]][rows[1]]), 0L)
  split_up <- function(x) split(x, rep(seq_len(cohorts), each = length(x) / cohorts))
  full <- function(phi) lapply(split_up(phi), s$V)
  zero <- matrix(0, m, m)
  covariance <- function(phi, values = FALSE) {
    each <- full(phi)
    Map(function(k, at) {
      pick <- function(M) M[at, at, drop = FALSE]
      if (values) return(list(V = pick(each[[k]]$V)))
      D <- rep(list(zero), length(phi)); D[(k - 1) * s$size + seq_len(s$size)] <- each[[k]]$D
      list(V = pick(each[[k]]$V), D = lapply(D, pick), DD = lapply(moved(each[[k]], (k - 1) * s$size), pick))
    }, of, seen)
  }
  list(y = d[[case$outcome]], X = model.matrix(formula_of(case), d), blocks = blocks, reml = case$method == "reml", covariance = covariance,
    full = full, phi = function(theta) unlist(lapply(split_up(theta), s$phi), use.names = FALSE), start = function(s2) rep(s$start(s2), cohorts))
}

# nlme's own fit of the common structures that it has.
from_nlme <- function(case, d) {
  if (case$by_cohort || case$covariance == "toeplitz") return(NULL)
  of <- as.formula(paste("~ index |", case$patient)); by <- varIdent(form = as.formula(paste("~ 1 |", case$visit)))
  correlation <- switch(case$covariance, unstructured = corSymm(form = of), `compound-symmetry` = corCompSymm(form = of), corAR1(form = of))
  weights <- if (case$covariance %in% c("unstructured", "heterogeneous-ar1")) by
  control <- glsControl(maxIter = 500, msMaxIter = 2000, tolerance = 1e-9, msTol = 1e-11, returnObject = TRUE)
  assign("d", d, globalenv())
  eval(bquote(gls(.(formula_of(case)), data = d, correlation = .(correlation), weights = .(weights), method = .(toupper(case$method)), control = .(control))))
}

# emmeans says which weights make a mean: covariates at their average, factors alike.
grid_of <- function(case, d) {
  m <- lm(formula_of(case), d)
  e <- emmeans(m, as.formula(paste("~", case$cohort, "*", case$visit)))
  list(cells = data.frame(cohort = as.character(e@grid[[case$cohort]]), time = as.numeric(as.character(e@grid[[case$visit]]))), weights = unname(e@linfct),
    baseline = min(as.numeric(levels(d[[case$visit]]))), object = e)
}

covariances <- function(case, d, model, phi) {
  times <- as.numeric(levels(d[[case$visit]])); at <- pairs_of(length(times))
  names <- if (case$by_cohort) levels(d[[case$cohort]]) else ""
  columns_of(do.call(rbind, Map(function(name, part) data.frame(cohort = name, time = times[at[, 2]], other = times[at[, 1]], covariance = part$V[at],
    correlation = cov2cor(part$V)[at]), names, unname(model$full(phi)))))
}

# Compound symmetry with a positive correlation is a random intercept: lmerTest and pbkrtest are second witnesses, and judge dense.R.
as_random_intercept <- function(case, d, dense) {
  assign("d", d, globalenv())
  f <- update(formula_of(case), as.formula(paste("~ . + (1 |", case$patient, ")")))
  m <- eval(bquote(lmerTest::lmer(.(f), data = d, REML = .(case$method == "reml"), control = control)), globalenv())
  out <- list(satterthwaite = coefficients_by(m, "Satterthwaite"))
  if (case$method == "reml") out[["kenward-roger"]] <- coefficients_by(m, "Kenward-Roger")
  for (way in names(out)) for (column in c("estimate", "std_error", "df")) {
    mine <- dense$fixed[[way]][[column]]
    stopifnot(max(abs(mine - out[[way]][[column]]) / pmax(1, abs(mine))) < if (column == "df") 2e-4 else 1e-6)
  }
  for (j in dense$joint) { theirs <- joint_test(m, as.character(j$terms), case$method == "reml")
    for (way in names(out)) stopifnot(abs(unlist(j[[way]]) / unlist(theirs[[way]]) - 1) < 1e-5) }
  with_rule(lapply(out, columns_of), estimate = "fixed", std_error = "std_error", df = "df")
}

answers_of <- function(case) {
  started <- proc.time()[["elapsed"]]
  d <- frame_of(case); model <- model_of(case, d); grid <- grid_of(case, d)
  theirs <- from_nlme(case, d)
  s2 <- sum(resid(lm(formula_of(case), d))^2) / nrow(d)
  at <- minimised(model, list(model$start(s2), model$start(2 * s2)))
  joint <- list(grep(":", colnames(model$X), value = TRUE))
  out <- c(case, list(baseline = grid$baseline), dense_answers(case, model, at, joint, grid))
  out$covariances <- with_rule(list(table = covariances(case, d, model, at$phi)), covariance = "sd", correlation = "correlation")
  out$fitted <- with_rule(list(first = unname(drop(model$X %*% at$b))[1:6], row = as.integer(rownames(d))[1:6]), first = "fixed")
  if (!is.null(theirs)) {
    value <- -2 * as.numeric(logLik(theirs))
    e <- as.data.frame(emmeans(theirs, as.formula(paste("~", case$cohort, "*", case$visit)), mode = "df.error"))
    mine <- out$cohorts$satterthwaite$means
    # gls divides the ML covariance of the coefficients by n - p, emmeans takes it so: the standard errors differ by that factor.
    off <- if (model$reml) 1 else sqrt(nrow(model$X) / (nrow(model$X) - ncol(model$X)))
    stopifnot(value - at$criterion > -1e-8, value - at$criterion < 1e-3, abs(e$emmean - mine$estimate) < 1e-2,
      abs(e$SE / off - mine$std_error) < 1e-2)
    out$nlme <- with_rule(list(value = value, above = value - at$criterion), value = "criterion")
  }
  if (case$covariance == "compound-symmetry" && !case$by_cohort && at$phi[2] > 0) out$random_intercept <- as_random_intercept(case, d, out)
  message(sprintf("%-52s %.8f  decrement %.1e  curvature %.2e  spread %.1e  nlme above %.1e  %.1fs", case$name, at$criterion, at$decrement, at$curvature,
    at$spread, if (is.null(theirs)) NA else out$nlme$above, proc.time()[["elapsed"]] - started))
  out
}

# SAS PROC MIXED, as published with the R package mmrm: outcome by arm alone. It takes the observed information where Kenward and
# Roger and pbkrtest take the expected one, and stops at a relative 1e-8; the rest of dense.R, R_jk too, is held to its numbers.
published <- read.csv(file.path(here, "data", "fev_sas.csv"), stringsAsFactors = FALSE)
for (i in which(published$quantity == "arm alone")) {
  sas <- published[i, ]
  alone <- modifyList(case(fev, sas$covariance), list(formula = fev1 ~ arm))
  d <- frame_of(alone); model <- model_of(alone, d)
  at <- minimised(model, list(model$start(var(d$fev1))))
  at$expected <- at$hessian / 2
  if (sas$df_method == "kr(linear)") at$R <- list()
  kr <- kenward_roger(at)
  mine <- c(at$b[2], sqrt(kr$covariance[2, 2]), kenward_roger_test(at, kr, t(c(0, 1)))$df_den)
  message(sprintf("SAS %-18s %-10s off by %s", sas$covariance, sas$df_method, paste(signif(mine / unlist(sas[c("estimate", "std_error", "df")]) - 1, 2), collapse = " ")))
  stopifnot(abs(mine / unlist(sas[c("estimate", "std_error", "df")]) - 1) < c(2e-5, 1e-4, 3e-4))
}

results <- lapply(cases, answers_of)
versions <- lapply(setNames(nm = c("nlme", "lme4", "lmerTest", "pbkrtest", "emmeans", "jsonlite")), function(p) as.character(packageVersion(p)))
out <- if (length(args) > 0) args[1] else file.path(here, "mmrm.json")
write(toJSON(list(software = c(R = R.version$version.string, versions), rules = rules, cases = results), auto_unbox = TRUE, digits = NA, na = "null", null = "null", pretty = TRUE), out)
