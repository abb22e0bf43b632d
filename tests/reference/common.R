# What the reference scripts share: an optimum that can be trusted, and every answer read off one fitted model.
suppressPackageStartupMessages({
  library(lme4)
  library(lmerTest)
  library(pbkrtest)
  library(emmeans)
  library(jsonlite)
  library(numDeriv)
})
options(digits = 17, contrasts = c("contr.treatment", "contr.poly"))
emm_options(lmerTest.limit = 1e5, pbkrtest.limit = 1e5)

# bobyqa to rhoend 1e-11 from several starts, nlminb beside it, the lowest of them polished by Newton steps on Richardson
# derivatives: lme4's defaults leave standard errors 6e-6 off, and bobyqa alone stops where a column of L is zero.
optimum <- new.env()
polished <- function(fn, par, lower, upper, control) {
  diagonal <- lower == 0
  starts <- list(par, ifelse(diagonal, 0.3, 0.1), ifelse(diagonal, 0.05, -0.02), ifelse(diagonal, 2, 0.5))
  ends <- list()
  for (start in starts) {
    a <- minqa::bobyqa(start, fn, lower = lower, upper = upper, control = list(rhoend = 1e-11, maxfun = 50000))
    b <- nlminb(start, fn, lower = lower, upper = upper, control = list(rel.tol = 1e-15, x.tol = 1e-12, eval.max = 5000))
    ends <- c(ends, list(a$par, b$par))
  }
  values <- vapply(ends, fn, 0)
  best <- ends[[which.min(values)]]
  free <- !(diagonal & best < 1e-5)
  best[!free] <- 0
  partial <- function(x) { full <- best; full[free] <- x; fn(full) }
  for (k in seq_len(6 * any(free))) {
    g <- grad(partial, best[free])
    h <- hessian(partial, best[free])
    if (max(abs(g)) < 1e-8 || min(eigen(h, TRUE, TRUE)$values) <= 0) break
    step <- solve(h, g)
    trial <- best[free] - step
    if (partial(trial) > partial(best[free]) + 1e-9) break
    best[free] <- trial
  }
  optimum$gradient <- if (any(free)) max(abs(grad(partial, best[free]))) else 0
  optimum$curvature <- if (any(free)) min(eigen(hessian(partial, best[free]), TRUE, TRUE)$values) else 0
  optimum$boundary <- any(!free)
  optimum$spread <- max(values) - min(values)
  list(par = best, fval = fn(best), convergence = 0L, message = "bobyqa, nlminb, Newton")
}
control <- lmerControl(optimizer = polished, calc.derivs = FALSE, check.conv.singular = "ignore")

rules <- list(
  criterion = list(kind = "criterion", below = 1e-7, within = 1e-5,
    reason = "ours may not be above the reference by more than rounding; below it only where the reference stopped short"),
  fixed = list(kind = "relative to the larger of value and standard error", tolerance = 1e-6,
    reason = "both engines at the same optimum; generalised least squares is well conditioned on scaled columns"),
  vcov = list(kind = "relative to the product of two standard errors", tolerance = 2e-6,
    reason = "1e-6 on each standard error"),
  std_error = list(kind = "relative", tolerance = 1e-6, reason = "first order in theta, polished here to 1e-8"),
  sd = list(kind = "relative to the larger of value and sigma", tolerance = 1e-5,
    reason = "the criterion is flat: 1e-10 in it is 1e-5 in theta"),
  correlation = list(kind = "absolute", tolerance = 1e-5, reason = "as sd"),
  ranef = list(kind = "relative to the standard deviation of the effect", tolerance = 1e-5, reason = "as sd"),
  df = list(kind = "absolute", tolerance = 1e-3, reason = "lmerTest differentiates numerically"),
  statistic = list(kind = "relative", tolerance = 1e-5, reason = "squares of standard errors at 1e-6, several of them"),
  share = list(kind = "absolute", tolerance = 1e-6, reason = "ratios of variances, each with sd's tolerance")
)
with_rule <- function(.answers, ...) c(.answers, list(rules = list(...)))

here <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))))

read_table <- function(name, levels = list()) {
  frame <- read.csv(file.path(here, "data", paste0(name, ".csv")), stringsAsFactors = FALSE)
  for (k in names(frame)) if (is.character(frame[[k]])) {
    frame[[k]] <- factor(frame[[k]], levels = if (is.null(levels[[k]])) sort(unique(frame[[k]]), method = "radix") else levels[[k]])
  }
  frame
}

rows_of <- function(frame) lapply(seq_len(nrow(frame)), function(i) as.list(frame[i, , drop = FALSE]))

# One fixed-effect table for one df method.
coefficients_by <- function(m, ddf) {
  out <- contest1d_all(m, diag(length(fixef(m))), ddf)
  data.frame(term = names(fixef(m)), estimate = out$estimate, std_error = out$std_error, df = out$df)
}
contest1d_all <- function(m, L, ddf) {
  out <- lapply(seq_len(nrow(L)), function(i) contest1D(m, L[i, ], ddf = ddf))
  data.frame(estimate = sapply(out, `[[`, "Estimate"), std_error = sapply(out, `[[`, "Std. Error"), df = sapply(out, `[[`, "df"))
}

variances <- function(m) {
  frame <- as.data.frame(VarCorr(m))
  lapply(seq_len(nrow(frame)), function(i) list(
    group = frame$grp[i], effect = frame$var1[i], other = frame$var2[i],
    sd = if (is.na(frame$var2[i])) frame$sdcor[i] else NA, correlation = if (is.na(frame$var2[i])) NA else frame$sdcor[i]))
}

some_ranef <- function(m, per_group = 3) {
  all <- as.data.frame(ranef(m, condVar = TRUE))
  out <- list()
  for (g in unique(as.character(all$grpvar))) {
    mine <- all[all$grpvar == g, ]
    names <- rownames(ranef(m)[[g]])
    for (l in names[unique(round(seq(1, length(names), length.out = per_group)))]) for (k in unique(as.character(mine$term))) {
      row <- mine[mine$grp == l & mine$term == k, ]
      out <- c(out, list(list(group = g, level = l, effect = k, estimate = row$condval, std_error = row$condsd)))
    }
  }
  out
}

# Nakagawa & Schielzeth 2013 with Johnson's 2014 extension to random slopes.
shares <- function(m) {
  sf <- var(as.vector(getME(m, "X") %*% fixef(m)))
  Z <- getME(m, "Z")
  sr <- mean(Matrix::rowSums((Z %*% getME(m, "Lambda"))^2)) * sigma(m)^2
  se <- sigma(m)^2
  list(r2_marginal = sf / (sf + sr + se), r2_conditional = (sf + sr) / (sf + sr + se), icc = sr / (sr + se))
}

fit <- function(case) {
  d <- read_table(case$data, case$levels)
  if (!is.null(case$drop)) d <- d[-seq(case$drop[1], case$drop[2], case$drop[3]), ]
  if (!is.null(case$compute)) for (k in names(case$compute)) d[[k]] <- eval(parse(text = case$compute[[k]]), d)
  assign("d", d, globalenv())
  f <- as.formula(case$formula, globalenv())
  m <- eval(bquote(lmerTest::lmer(.(f), data = d, REML = .(case$method == "reml"), control = control)), globalenv())
  m
}

# Everything one model says; `known` is the criterion as others have published or computed it.
answers <- function(case) {
  started <- proc.time()[["elapsed"]]
  m <- fit(case)
  ends <- as.list(optimum)
  reml <- case$method == "reml"
  out <- case[setdiff(names(case), c("cohorts", "joint"))]
  kr <- reml
  out$criterion <- with_rule(list(value = if (reml) REMLcrit(m) else -2 * as.numeric(logLik(m)),
    optimum = ends$gradient < 1e-5 && ends$curvature > -1e-6, gradient = ends$gradient, curvature = ends$curvature,
    boundary = ends$boundary, spread_over_starts = ends$spread), value = "criterion")
  if (!is.null(case$known)) stopifnot(abs(out$criterion$value - case$known) < 2e-6)
  b <- coefficients_by(m, "Satterthwaite")
  out$fixed <- with_rule(list(satterthwaite = rows_of(b)), estimate = "fixed", std_error = "std_error", df = "df")
  if (kr) out$fixed[["kenward-roger"]] <- rows_of(coefficients_by(m, "Kenward-Roger"))
  out$vcov <- with_rule(list(value = unname(as.matrix(vcov(m)))), value = "vcov")
  out$variances <- with_rule(list(rows = variances(m), sigma = sigma(m), theta = unname(getME(m, "theta"))),
    sd = "sd", correlation = "correlation")
  out$random_effects <- with_rule(list(rows = some_ranef(m)), estimate = "ranef", std_error = "ranef")
  out$shares <- with_rule(list(value = shares(m)), value = "share")
  out$fitted <- with_rule(list(first = unname(fitted(m)[1:6]), fixed = unname(predict(m, re.form = NA)[1:6])), first = "ranef", fixed = "fixed")
  for (j in case$joint) out$joint <- c(out$joint, list(joint_test(m, j, kr)))
  if (!is.null(case$cohorts)) {
    # emmeans finds a time only where the formula itself transforms it.
    same <- if (is.null(case$cohorts$formula)) m else fit(modifyList(case, list(formula = case$cohorts$formula)))
    stopifnot(abs(logLik(same) - logLik(m)) < 1e-8)
    out$cohorts <- cohort_answers(same, case$cohorts, kr)
  }
  message(sprintf("%-34s %.8f  gradient %.1e  curvature %.2e  spread %.1e  %s %.1fs", case$name, out$criterion$value, ends$gradient, ends$curvature,
    ends$spread, if (ends$boundary) "boundary" else "", proc.time()[["elapsed"]] - started))
  out
}

joint_test <- function(m, terms, kr) {
  p <- length(fixef(m))
  L <- diag(p)[match(terms, names(fixef(m))), , drop = FALSE]
  stopifnot(!anyNA(L))
  one <- function(ddf) { t <- contestMD(m, L, ddf = ddf); list(statistic = t$`F value`, df_num = t$NumDF, df_den = t$DenDF, p_value = t$`Pr(>F)`) }
  out <- list(terms = terms, satterthwaite = one("Satterthwaite"))
  if (kr) {
    answer <- KRmodcomp(m, L)
    k <- lapply(setNames(nm = c("Fstat", "ndf", "ddf", "p.value")), function(what) as.numeric(getKR(answer, what)))
    out[["kenward-roger"]] <- list(statistic = k$Fstat, df_num = k$ndf, df_den = k$ddf, p_value = k$p.value)
  }
  with_rule(out, statistic = "statistic", df = "df", p_value = "statistic")
}

# Marginal means, contrasts of level and of change since the baseline, slopes, improvement retained.
cohort_answers <- function(m, q, kr) {
  methods <- c("satterthwaite", if (kr) "kenward-roger")
  at <- q$at
  visits <- !is.null(q$visit)
  times <- sort(unique(c(q$baseline, at)))
  others <- setdiff(q$cohorts, q$reference)
  out <- with_rule(list(call = q$call, at = at), estimate = "fixed", std_error = "std_error", df = "df")
  for (way in methods) {
    grid <- if (visits) emmeans(m, as.formula(paste("~", q$cohort, "*", q$visit)), lmer.df = way) else
      emmeans(m, as.formula(paste("~", q$cohort, "*", q$time)), at = setNames(list(times), q$time), lmer.df = way)
    cells <- as.data.frame(grid@grid)
    cell_time <- if (visits) as.numeric(sub("^m", "", cells[[q$visit]])) else cells[[q$time]]
    cell_cohort <- as.character(cells[[q$cohort]])
    pick <- function(cohort, time) as.numeric(cell_cohort == cohort & cell_time == time)
    ask <- function(labels, weights) {
      s <- as.data.frame(summary(contrast(grid, weights), infer = c(FALSE, TRUE)))
      lapply(seq_along(labels), function(i) c(labels[[i]], list(estimate = s$estimate[i], std_error = s$SE[i], df = s$df[i])))
    }
    s <- as.data.frame(summary(grid))
    keep <- which(cell_time %in% at)
    means <- lapply(keep, function(i) list(cohort = cell_cohort[i], time = cell_time[i], estimate = s$emmean[i], std_error = s$SE[i], df = s$df[i]))
    labels <- weights <- list()
    for (cohort in others) for (time in at) {
      labels <- c(labels, list(list(cohort = cohort, time = time, quantity = "level")))
      weights <- c(weights, list(pick(cohort, time) - pick(q$reference, time)))
      if (time != q$baseline) {
        labels <- c(labels, list(list(cohort = cohort, time = time, quantity = "change")))
        weights <- c(weights, list((pick(cohort, time) - pick(cohort, q$baseline)) - (pick(q$reference, time) - pick(q$reference, q$baseline))))
      }
    }
    names(weights) <- paste0("w", seq_along(weights))
    contrasts <- ask(labels, weights)
    labels <- weights <- list()
    for (cohort in q$cohorts) for (time in setdiff(at, q$baseline)) {
      labels <- c(labels, list(list(cohort = cohort, time = time)))
      weights <- c(weights, list(pick(cohort, time) - pick(cohort, q$baseline)))
    }
    names(weights) <- paste0("w", seq_along(weights))
    changes <- ask(labels, weights)
    retained <- list()
    for (cohort in others) for (time in setdiff(at, q$baseline)) {
      a <- pick(cohort, time) - pick(cohort, q$baseline)
      b <- pick(q$reference, time) - pick(q$reference, q$baseline)
      ab <- contrast(grid, list(a = a, b = b))
      v <- vcov(ab)
      e <- as.data.frame(summary(ab))$estimate
      theta <- e[1] / e[2]
      s <- as.data.frame(summary(contrast(grid, list(w = a - theta * b))))
      t2 <- qt(0.975, s$df)^2
      A <- e[2]^2 - t2 * v[2, 2]; B <- e[1] * e[2] - t2 * v[1, 2]; C <- e[1]^2 - t2 * v[1, 1]
      disc <- B^2 - A * C
      set <- if (A > 0) "bounded" else if (disc > 0) "outside" else "unbounded"
      ends <- if (disc > 0) sort((B + c(-1, 1) * sqrt(disc)) / A) else c(NA, NA)
      retained <- c(retained, list(list(cohort = cohort, time = time, estimate = theta, df = s$df, conf_low = ends[1], conf_high = ends[2], set = set)))
    }
    out[[way]] <- list(means = means, contrasts = contrasts, changes = changes, retained = retained)
    if (isTRUE(q$trends)) {
      trend <- emtrends(m, as.formula(paste("~", q$cohort)), var = q$time, lmer.df = way)
      s <- as.data.frame(summary(trend))
      out[[way]]$trends <- lapply(seq_len(nrow(s)), function(i) list(cohort = as.character(s[[q$cohort]][i]), estimate = s[[2]][i], std_error = s$SE[i], df = s$df[i]))
    }
  }
  out
}
