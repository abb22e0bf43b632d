# Reference profile-likelihood intervals and likelihood ratios: Rscript tests/reference/profile.R [OUT.json]
#
# Two answers an interval: lme4's own confint(method = "profile") of ML fits, which reads the ends off a spline, and the
# ends where an own profile of lme4's deviance function crosses the quantile, for REML too, which lme4 does not profile.
args <- commandArgs(TRUE)
source(file.path(dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)))), "common.R"))

# -2 log-likelihood with the residual variance a parameter, and where each term's triangle stands in theta.
unprofiled <- function(m, data, reml) {
  profiled <- lme4::lmer(formula(m), data, REML = reml, devFunOnly = TRUE)
  rho <- environment(profiled)
  n <- nobs(m); p <- length(fixef(m)); nu <- if (reml) n - p else n
  sizes <- lengths(m@cnms)
  ends <- cumsum(sizes * (sizes + 1) / 2)
  list(theta = getME(m, "theta"), lower = getME(m, "lower"), minimum = as.numeric(if (reml) REMLcrit(m) else -2 * logLik(m)),
    deviance = function(theta, s2) {
      best <- profiled(theta)
      if (is.null(s2)) return(best)
      rho$pp$ldL2() + (if (reml) rho$pp$ldRX2() else 0) + nu * log(2 * pi * s2) + (rho$resp$wrss() + rho$pp$sqrL(1)) / s2
    },
    ratio = function(theta, term, k) {
      L <- matrix(0, sizes[term], sizes[term])
      L[lower.tri(L, TRUE)] <- theta[(ends[term] - sizes[term] * (sizes[term] + 1) / 2 + 1):ends[term]]
      sum(L[k, ]^2)
    },
    entries = function(term, k) {
      at <- matrix(0, sizes[term], sizes[term])
      at[lower.tri(at, TRUE)] <- (ends[term] - sizes[term] * (sizes[term] + 1) / 2 + 1):ends[term]
      setdiff(at[k, ], 0)
    })
}

lowest <- function(fn, starts) {
  values <- vapply(starts, function(start) {
    a <- nlminb(start, fn, control = list(rel.tol = 1e-15, x.tol = 1e-12, eval.max = 5000, iter.max = 2000))
    b <- optim(a$par, fn, method = "BFGS", control = list(reltol = 1e-15))
    c(min(a$objective, b$value))
  }, 0)
  min(values)
}

# Theta has no lower bounds here: the sign of a column of a triangle does not matter.
profile_rise <- function(u, term, k, sd) {
  starts <- list(u$theta, u$theta + 0.05, ifelse(u$lower == 0, pmax(u$theta, 0.3), -0.1))
  if (is.null(term)) return(lowest(function(theta) u$deviance(theta, sd^2), starts) - u$minimum)
  if (sd > 0) {
    return(lowest(function(theta) {
      r <- u$ratio(theta, term, k)
      if (r < 1e-14) 1e10 else u$deviance(theta, sd^2 / r)
    }, lapply(starts, function(s) { s[u$entries(term, k)] <- pmax(s[u$entries(term, k)], 0.01); s })) - u$minimum)
  }
  gone <- u$entries(term, k)
  without <- function(theta) { theta[gone] <- 0; u$deviance(theta, NULL) }
  if (length(gone) == length(u$theta)) without(u$theta) - u$minimum else lowest(without, starts) - u$minimum
}

crossing <- function(u, term, k, estimate, sigma, quantile) {
  above <- function(sd) profile_rise(u, term, k, sd) - quantile
  low <- if (!is.null(term) && (estimate < 1e-5 * sigma || above(0) <= 0)) 0 else
    uniroot(above, c(estimate * 0.02, estimate), f.upper = -quantile, tol = 1e-9 * estimate, extendInt = "downX")$root
  scale <- max(estimate, 0.2 * sigma / sqrt(u$size))
  high <- uniroot(above, c(estimate, estimate + scale), f.lower = -quantile, tol = 1e-9 * scale, extendInt = "upX")$root
  c(low, high)
}

ends <- function(m, data, reml, level) {
  u <- unprofiled(m, data, reml)
  quantile <- qchisq(level, 1)
  out <- list()
  for (term in seq_along(m@cnms)) {
    Z <- getME(m, "mmList")[[term]]
    for (k in seq_along(m@cnms[[term]])) {
      u$size <- mean(Z[, k]^2)
      estimate <- sigma(m) * sqrt(u$ratio(u$theta, term, k))
      both <- crossing(u, term, k, estimate, sigma(m), quantile)
      out <- c(out, list(list(group = names(m@cnms)[term], effect = m@cnms[[term]][k], estimate = estimate, low = both[1], high = both[2])))
    }
  }
  both <- crossing(u, NULL, NULL, sigma(m), sigma(m), quantile)
  c(out, list(list(group = "Residual", effect = "", estimate = sigma(m), low = both[1], high = both[2])))
}

# lme4's own: standard deviations only. It warns where bobyqa cannot come closer than rounding lets it.
own_confint <- function(case, data) {
  m <- lme4::lmer(as.formula(case$formula, globalenv()), data, REML = FALSE,
    control = lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-11), calc.derivs = FALSE, check.conv.singular = "ignore"))
  both <- suppressWarnings(confint(m, parm = "theta_", level = case$level, method = "profile", oldNames = FALSE, quiet = TRUE,
    delta = 0.1, maxpts = 400))
  both <- both[!grepl("^cor_", rownames(both)), , drop = FALSE]
  lapply(seq_len(nrow(both)), function(i) list(name = rownames(both)[i], low = unname(both[i, 1]), high = unname(both[i, 2])))
}

answer <- function(case) {
  m <- fit(case)
  out <- case
  out$rows <- ends(m, d, case$method == "reml", case$level)
  if (case$confint) out$lme4 <- own_confint(case, d)
  message(case$name)
  out
}

compared <- function(name, data, small, big) {
  one <- function(formula) fit(list(data = data, formula = formula, method = "ml"))
  a <- one(small); b <- one(big)
  table <- as.data.frame(anova(a, b))
  list(name = name, data = data, small = small, big = big, parameters = table$npar, loglik = table$logLik, aic = table$AIC, bic = table$BIC,
    statistic = table$Chisq[2], df = table$Df[2], p_value = table$`Pr(>Chisq)`[2])
}

case <- function(name, data, formula, method, level = 0.95, confint = method == "ml")
  list(name = name, data = data, formula = formula, method = method, level = level, confint = confint)
slope <- "Reaction ~ Days + (1 + Days | Subject)"
intercept <- "Reaction ~ Days + (1 | Subject)"
waves <- "bsi ~ month * cohort + age + sex + (1 + month | patient)"
# lme4 1.1-31 has no interval of the residual where a variance is 0 (Dyestuff2).
cases <- list(
  case("sleepstudy slope ml", "sleepstudy", slope, "ml"),
  case("sleepstudy slope", "sleepstudy", slope, "reml"),
  case("sleepstudy slope 80", "sleepstudy", slope, "reml", level = 0.8),
  case("sleepstudy intercept ml", "sleepstudy", intercept, "ml"),
  case("sleepstudy intercept", "sleepstudy", intercept, "reml"),
  case("dyestuff ml", "dyestuff", "Yield ~ 1 + (1 | Batch)", "ml"),
  case("dyestuff", "dyestuff", "Yield ~ 1 + (1 | Batch)", "reml"),
  case("dyestuff2 boundary ml", "dyestuff2", "Yield ~ 1 + (1 | Batch)", "ml", confint = FALSE),
  case("dyestuff2 boundary", "dyestuff2", "Yield ~ 1 + (1 | Batch)", "reml"),
  case("penicillin ml", "penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", "ml"),
  case("penicillin", "penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", "reml"),
  case("waves slope ml", "waves", waves, "ml"),
  case("waves slope", "waves", waves, "reml"),
  case("waves site beside slope", "waves", "bsi ~ month * cohort + (1 + month | patient) + (1 | site)", "reml"),
  case("oxboys quadratic", "oxboys", "height ~ age + I(age ** 2) + (1 + age + I(age ** 2) | Subject)", "reml"),
  case("irregular flat boundary", "irregular", "flat ~ year * cohort + (1 + year | patient)", "reml")
)
comparisons <- list(
  compared("two covariates", "waves", "bsi ~ month * cohort + (1 + month | patient)", waves),
  compared("a correlated slope", "sleepstudy", intercept, slope),
  compared("an intercept of sites", "waves", "bsi ~ month * cohort + (1 + month | patient)", "bsi ~ month * cohort + (1 + month | patient) + (1 | site)"))

rules <- list(
  sd = list(kind = "relative", tolerance = 1e-7, reason = "both are where the same profile crosses the same height"),
  lme4 = list(kind = "relative", tolerance = 2e-5, reason = "lme4 reads the ends off a spline through its profile"),
  criterion = list(kind = "absolute", tolerance = 1e-5, reason = "both engines at the same optimum"),
  df = list(kind = "absolute", tolerance = 0, reason = "a count"),
  p_value = list(kind = "relative", tolerance = 1e-5, reason = "the tail of a statistic that is known to 1e-5"))
out <- if (length(args) > 0) args[1] else file.path(here, "profile.json")
write(toJSON(list(software = list(R = R.version$version.string, lme4 = as.character(packageVersion("lme4"))), rules = rules,
  cases = lapply(cases, answer), comparisons = comparisons), auto_unbox = TRUE, digits = NA, na = "null", null = "null", pretty = TRUE), out)
