# Reference values of rates and of effects combined: Rscript tests/reference/rates.R [OUT.json]
#
# Exact intervals from poisson.test; overdispersion from glm (quasipoisson), sandwich::vcovCL and, for the negative binomial,
# MASS::glm.nb with the covariance of coefficients and dispersion together, by differences of the likelihood (glm.nb takes the
# dispersion as known). Effects from metafor, whose Paule-Mandel estimate is asked for to rounding. The tables stand here.
suppressPackageStartupMessages({
  library(MASS)
  library(sandwich)
  library(metafor)
  library(numDeriv)
  library(jsonlite)
})
options(digits = 17)
args <- commandArgs(TRUE)
here <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))))
rules <- list(
  exact = list(kind = "relative", tolerance = 1e-10, reason = "closed forms on both sides"),
  fixed = list(kind = "relative", tolerance = 1e-7, reason = "iterated to 1e-12 on both sides"),
  differences = list(kind = "relative", tolerance = 1e-5, reason = "second differences of the likelihood in R"),
  tau2 = list(kind = "relative", tolerance = 1e-7, reason = "roots by uniroot in metafor, with a tolerance of 1e-12"))

# Counts -------------------------------------------------------------------------------------------------------------
exact <- function(name, events, exposure, level = 0.95) {
  # The reference stands first; poisson.test compares its first count with its second.
  ratio <- poisson.test(rev(events), rev(exposure), conf.level = level)$conf.int
  rate <- function(k) poisson.test(events[k], exposure[k], conf.level = level)$conf.int
  list(name = name, kind = "exact", events = events, exposure = exposure, level = level, ratio = as.numeric(ratio),
    reference = as.numeric(rate(1)), cohort = as.numeric(rate(2)))
}
staff <- data.frame(
  team = rep(1:8, each = 3),
  era = rep(c("before", "during"), each = 12),
  events = c(2, 0, 1, 4, 3, 0, 1, 0, 0, 2, 5, 1, 6, 2, 3, 0, 1, 9, 4, 2, 2, 3, 8, 1),
  exposure = c(10.5, 9, 11, 14, 12.5, 13, 8, 7.5, 9, 16, 15, 14.5, 10, 11, 9.5, 8, 12, 14, 13, 12, 11, 9, 15, 10))
staff$crossed <- rep(1:6, 4)
model <- glm(events ~ era + offset(log(exposure)), poisson, staff, epsilon = 1e-14)
loose <- glm(events ~ era + offset(log(exposure)), quasipoisson, staff, epsilon = 1e-14)
shown <- function(estimate, error, df) list(ratio = exp(estimate), low = exp(estimate - qt(0.975, df) * error),
  high = exp(estimate + qt(0.975, df) * error))
clustered <- function(column) shown(coef(model)[[2]], sqrt(vcovCL(model, staff[[column]], type = "HC1")[2, 2]), length(unique(staff[[column]])) - 1)
negative <- glm.nb(events ~ era + offset(log(exposure)), staff, control = glm.control(epsilon = 1e-14, maxit = 200))
loglik <- function(p) sum(dnbinom(staff$events, size = 1 / p[3], mu = exp(p[1] + p[2] * (staff$era == "during")) * staff$exposure, log = TRUE))
best <- optim(c(coef(negative), 1 / negative$theta), loglik, method = "BFGS", control = list(fnscale = -1, reltol = 1e-16, maxit = 1000))$par
for (k in 1:5) best <- best - solve(hessian(loglik, best), grad(loglik, best))
joint <- sqrt(solve(-hessian(loglik, best))[2, 2])
spread <- list(name = "staff", kind = "spread", table = as.list(staff), dispersion = summary(loose)$dispersion,
  quasi = shown(coef(loose)[[2]], sqrt(vcov(loose)[2, 2]), df.residual(loose)),
  team = clustered("team"), crossed = clustered("crossed"),
  negative = c(shown(best[[2]], joint, Inf), list(alpha = best[[3]])))

# Effects ------------------------------------------------------------------------------------------------------------
combined <- function(name, y, se, method, interval) {
  way <- c("paule-mandel" = "PM", "dersimonian-laird" = "DL", fixed = "FE")[[method]]
  test <- c(hksj = "knha", "modified-hksj" = "adhoc", normal = "z")[[interval]]
  tight <- list(tol = 1e-13, maxiter = 10000)
  m <- suppressWarnings(rma(y, sei = se, method = way, test = test, control = tight))
  spread <- rma(y, sei = se, method = if (way == "FE") "PM" else way, control = tight)
  around <- suppressWarnings(confint(spread, control = list(tol = 1e-13, maxiter = 10000))$random)
  out <- list(name = paste(name, method, interval), kind = "combined", y = y, se = se, method = method, interval = interval,
    mean = as.numeric(m$beta), std_error = m$se, low = m$ci.lb, high = m$ci.ub, q = m$QE, weights = as.numeric(weights(m)) / 100,
    tau2 = spread$tau2, tau2_low = around["tau^2", "ci.lb"], tau2_high = around["tau^2", "ci.ub"],
    i2 = spread$I2 / 100, i2_low = around["I^2(%)", "ci.lb"] / 100, i2_high = around["I^2(%)", "ci.ub"] / 100)
  if (way != "FE") {
    error <- sqrt(m$tau2 + m$se^2)
    out$prediction <- as.numeric(m$beta) + c(-1, 1) * qt(0.975, length(y) - 2) * error
    # metafor's own word for it, where its test is a t.
    if (test != "z") {
      said <- predict(m, pi.type = "riley")
      stopifnot(length(said$pi.lb) == 1, max(abs(c(said$pi.lb, said$pi.ub) - out$prediction)) < 1e-9)
    }
  }
  out
}
apart <- list(c(-0.62, -0.10, -0.35, 0.44, -0.9, 0.05), c(0.17, 0.21, 0.12, 0.25, 0.3, 0.1))
alike <- list(c(0.31, 0.36, 0.28, 0.40), c(0.2, 0.15, 0.3, 0.22))
cases <- list()
for (method in c("paule-mandel", "dersimonian-laird", "fixed")) for (interval in c("hksj", "modified-hksj", "normal"))
  cases <- c(cases, list(combined("apart", apart[[1]], apart[[2]], method, interval), combined("alike", alike[[1]], alike[[2]], method, interval)))

out <- if (length(args) > 0) args[1] else file.path(here, "rates.json")
software <- list(R = R.version$version.string)
for (p in c("MASS", "sandwich", "metafor")) software[[p]] <- as.character(packageVersion(p))
counts <- list(exact("small", c(4, 11), c(52.5, 48)), exact("none before", c(0, 5), c(52.5, 48)),
  exact("none during", c(5, 0), c(52.5, 48)), exact("none at all", c(0, 0), c(10, 12)), exact("many, 90 %", c(250, 310), c(1000, 900), 0.9))
write(toJSON(list(software = software, rules = rules, cases = c(counts, list(spread), cases)), auto_unbox = TRUE, digits = NA,
  na = "null", pretty = TRUE), out)
