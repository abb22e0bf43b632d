# Reference values of competing risks: Rscript tests/reference/competing.R [OUT.json]
#
# cmprsk says cumulative incidences with Aalen's variance, Gray's test, and Fine & Gray's model. What it does not know
# has a second oracle in survival: delayed entry and weights (survfit with several end states, whose standard errors are
# the infinitesimal jackknife), and clusters (coxph on the rows that finegray makes; its sandwich leaves out that the
# censoring distribution is estimated, so it is compared with ours before that part is added).
suppressPackageStartupMessages({
  library(survival)
  library(cmprsk)
  library(jsonlite)
})
options(digits = 17)
args <- commandArgs(TRUE)
here <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))))
read_table <- function(name) read.csv(file.path(here, "data", paste0(name, ".csv")), stringsAsFactors = FALSE)
# Four candidates of `transplant` have a futime of 0, which is no spell.
read_case <- function(case) {
  d <- read_table(case$data)
  d <- d[d[[case$duration]] > 0, ]
  for (k in case$terms) d <- d[!is.na(d[[k]]), ]
  d
}
some <- function(x, most = 20) x[unique(round(seq(1, length(x), length.out = most)))]
endings <- function(case, d) c(case$censored, sort(setdiff(unique(d[[case$event]]), case$censored), method = "radix"))
coded <- function(case, d) match(d[[case$event]], endings(case, d)) - 1

# Cumulative incidence -----------------------------------------------------------------------------------------------
by_cmprsk <- function(case) {
  d <- read_case(case)
  labels <- endings(case, d)
  group <- if (is.null(case$by)) rep("all", nrow(d)) else d[[case$by]]
  found <- cuminc(d[[case$duration]], coded(case, d), group)
  found$Tests <- NULL
  out <- list()
  for (g in sort(unique(group), method = "radix")) for (k in seq_along(labels[-1])) {
    # Each step stands twice: at its foot and at its head.
    one <- found[[paste(g, k)]]
    head <- some(which(!duplicated(one$time, fromLast = TRUE) & one$time > 0))
    out <- c(out, list(list(group = g, cause = labels[k + 1], time = one$time[head], estimate = one$est[head], variance = one$var[head])))
  }
  c(case, list(rows = out))
}

by_survfit <- function(case) {
  d <- read_case(case)
  labels <- endings(case, d)
  d$.state <- factor(coded(case, d), seq_along(labels) - 1, labels)
  d$.id <- seq_len(nrow(d))
  d$.from <- if (is.null(case$entry)) 0 else d[[case$entry]]
  d$.w <- if (is.null(case$weights)) 1 else d[[case$weights]]
  d$.group <- if (is.null(case$by)) "all" else d[[case$by]]
  out <- list()
  for (g in sort(unique(d$.group), method = "radix")) {
    mine <- d[d$.group == g, ]
    mine$.to <- mine[[case$duration]]
    found <- survfit(Surv(.from, .to, .state) ~ 1, mine, id = .id, weights = .w)
    at <- some(seq_along(found$time))
    for (k in seq_along(labels[-1])) {
      out <- c(out, list(list(group = g, cause = labels[k + 1], time = found$time[at], at_risk = found$n.risk[at, 1],
        estimate = found$pstate[at, k + 1], std_error = found$std.err[at, k + 1], event_free = found$pstate[at, 1])))
    }
  }
  c(case, list(rows = out))
}

# Gray's test --------------------------------------------------------------------------------------------------------
gray <- function(case) {
  d <- read_case(case)
  labels <- endings(case, d)
  strata <- if (is.null(case$strata)) rep(1, nrow(d)) else d[[case$strata]]
  tests <- cuminc(d[[case$duration]], coded(case, d), d[[case$by]], strata, rho = case$rho)$Tests
  c(case, list(rows = lapply(seq_along(labels[-1]), function(k) list(cause = labels[k + 1], statistic = tests[k, "stat"],
    df = tests[k, "df"], p_value = tests[k, "pv"]))))
}

# Fine & Gray's model ------------------------------------------------------------------------------------------------
# crr's line search stops short where rounding hides the last gain: two whole Newton steps with its own derivatives.
polished <- function(time, status, X, failcode) {
  f <- crr(time, status, X, failcode = failcode)
  stopifnot(f$converged)
  for (k in 1:2) {
    f <- crr(time, status, X, failcode = failcode, init = as.vector(f$coef + f$invinf %*% f$score), maxiter = 0, gtol = 1)
  }
  f
}
fine_gray <- function(case) {
  d <- read_case(case)
  labels <- endings(case, d)
  X <- model.matrix(as.formula(paste("~", paste(case$terms, collapse = "+"))), d)[, -1, drop = FALSE]
  f <- polished(d[[case$duration]], coded(case, d), X, match(case$cause, labels) - 1)
  out <- c(case, list(n = f$n, loglik = f$loglik, loglik_null = f$loglik.null, terms_r = colnames(X), estimate = unname(f$coef),
    vcov = unname(f$var)))
  at <- some(seq_along(f$uftime), 8)
  out$baseline <- list(time = f$uftime[at], cumulative_hazard = cumsum(f$bfitj)[at])
  out$profile <- list(row = d[1, case$terms, drop = FALSE], time = f$uftime[at], incidence = predict(f, X[1, , drop = FALSE])[at, 2])
  if (isTRUE(case$coxph)) {
    d$.state <- factor(coded(case, d), seq_along(labels) - 1, labels)
    d$.id <- seq_len(nrow(d))
    long <- finegray(as.formula(sprintf("Surv(%s, .state) ~ .", case$duration)), d, etype = case$cause)
    model <- as.formula(paste("Surv(fgstart, fgstop, fgstatus) ~", paste(case$terms, collapse = "+")))
    ends <- coxph.control(eps = 1e-13, toler.chol = 1e-15, iter.max = 50)
    own <- coxph(model, long, weights = fgwt, cluster = .id, ties = "breslow", control = ends)
    shared <- coxph(model, long, weights = fgwt, cluster = long[[case$cluster]], ties = "breslow", control = ends)
    out$survival <- list(estimate = unname(coef(own)), without_censoring = unname(vcov(own)), clustered = unname(vcov(shared)))
  }
  out
}

transplant <- list(data = "transplant", duration = "futime", event = "event", censored = "censored")
mgus2 <- list(data = "mgus2", duration = "time", event = "ended", censored = "censored")
quarters <- list(data = "quarters", duration = "quarter", event = "status", censored = "running")
with <- function(case, name, ...) c(list(name = name), modifyList(case, list(...)))

incidence_cases <- list(
  with(transplant, "transplant"), with(transplant, "transplant by abo", by = "abo"), with(mgus2, "mgus2 by sex", by = "sex"),
  with(quarters, "quarters"), with(quarters, "quarters by era", by = "era"))
survfit_cases <- list(
  with(transplant, "transplant by sex", by = "sex"),
  with(quarters, "quarters entry", entry = "entry", by = "region"),
  with(quarters, "quarters shares", weights = "share", by = "era"),
  with(quarters, "quarters shares and entry", weights = "share", entry = "entry"))
gray_cases <- list(
  with(transplant, "transplant by sex", by = "sex", rho = 0), with(transplant, "transplant by abo, rho 1", by = "abo", rho = 1),
  with(transplant, "transplant by abo within sex", by = "abo", strata = "sex", rho = 0), with(mgus2, "mgus2 by sex", by = "sex", rho = 0),
  with(mgus2, "mgus2 by sex, rho -1", by = "sex", rho = -1), with(quarters, "quarters by era", by = "era", rho = 0),
  with(quarters, "quarters by era, rho 0.5", by = "era", rho = 0.5), with(quarters, "quarters by era within region", by = "era", strata = "region", rho = 0),
  with(quarters, "quarters by region within era, rho 1", by = "region", strata = "era", rho = 1),
  with(quarters, "exact by era", duration = "exact", by = "era", rho = 0))
fine_gray_cases <- list(
  with(transplant, "transplant to ltx", cause = "ltx", terms = c("age", "sex", "abo")),
  with(transplant, "transplant to death", cause = "death", terms = c("age", "sex", "abo")),
  with(mgus2, "mgus2 to pcm", cause = "pcm", terms = c("age", "sex", "hgb", "mspike")),
  with(mgus2, "mgus2 to death", cause = "death", terms = c("age", "sex")),
  with(quarters, "quarters to stopped", cause = "stopped", terms = c("era", "support", "training")),
  with(quarters, "quarters to merged", cause = "merged", terms = c("support", "training")),
  with(quarters, "exact to stopped", duration = "exact", cause = "stopped", terms = c("era", "support", "training"), coxph = TRUE, cluster = "provider"))

rules <- list(
  estimate = list(kind = "absolute", tolerance = 1e-12, reason = "the same sums of fractions"),
  variance = list(kind = "relative", tolerance = 1e-9, reason = "sums that cancel to a thousandth of their terms"),
  std_error = list(kind = "relative", tolerance = 1e-9, reason = "as variance"),
  statistic = list(kind = "relative", tolerance = 1e-9, reason = "as variance"),
  p_value = list(kind = "absolute", tolerance = 1e-9, reason = "one minus a tail in R, so absolute"),
  coefficient = list(kind = "relative to the larger of value and standard error", tolerance = 1e-8, reason = "both at the optimum"),
  coefficient_se = list(kind = "relative to the product of two standard errors", tolerance = 1e-6, reason = "first order in the coefficients"),
  loglik = list(kind = "relative", tolerance = 1e-10, reason = "flat at the optimum"),
  hazard = list(kind = "relative", tolerance = 1e-7, reason = "first order in the coefficients"))
software <- list(R = R.version$version.string, survival = as.character(packageVersion("survival")), cmprsk = as.character(packageVersion("cmprsk")))
out <- if (length(args) > 0) args[1] else file.path(here, "competing.json")
write(toJSON(list(software = software, rules = rules, incidence = lapply(incidence_cases, by_cmprsk), survfit = lapply(survfit_cases, by_survfit),
  gray = lapply(gray_cases, gray), fine_gray = lapply(fine_gray_cases, fine_gray)), auto_unbox = TRUE, digits = I(15), na = "null", null = "null"), out)
