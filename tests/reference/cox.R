# Reference values of Cox models: Rscript tests/reference/cox.R [OUT.json]
#
# survival::coxph with its stops tightened to 1e-14. Two answers are not coxph's own: the gamma frailty's variance, which
# coxph's outer loop leaves 1e-4 off, is where the marginal log-likelihood of fits at a given variance is largest; and
# Firth's estimate is where log-likelihood + log|information| / 2 of coxph(init, iter.max = 0) is.
suppressPackageStartupMessages({
  library(survival)
  library(jsonlite)
})
options(digits = 17, contrasts = c("contr.treatment", "contr.poly"))
args <- commandArgs(TRUE)
here <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))))
read_table <- function(name) read.csv(file.path(here, "data", paste0(name, ".csv")), stringsAsFactors = TRUE)
control <- coxph.control(eps = 1e-14, toler.chol = 1e-15, iter.max = 200)

# Spells with everything at once: quarters of a year (heavy ties), late entry, strata, clusters, two kinds of weights.
set.seed(20170903)
n <- 160
spells <- data.frame(site = sprintf("s%02d", sample(24, n, TRUE)), region = sample(c("east", "north", "west"), n, TRUE),
  support = round(rnorm(n), 3), level = sample(c("clinic", "team", "therapist"), n, TRUE), whole = as.numeric(sample(3, n, TRUE)),
  part = round(runif(n, 0.4, 2.5), 3))
effect <- rnorm(24, 0, 1.1)[as.integer(factor(spells$site))]
years <- rexp(n) * 3 * exp(0.4 * spells$support - 0.5 * (spells$level == "team") - effect)
end <- runif(n, 1, 6)
spells$exact_years <- round(pmin(years, end), 4) + 0.0001 * seq_len(n) / n
spells$quarters <- ceiling(pmin(years, end) * 4) / 4
spells$stopped <- as.integer(years <= end)
spells$late <- pmax(0, spells$quarters - sample(c(0.25, 1, 2, 8), n, TRUE))
spells$exact_late <- spells$exact_years * sample(c(0, 0.3, 0.6), n, TRUE)
# With late entry coxph goes through all sets of tied events: few rows, for the exact likelihood.
frames <- list(spells = spells, few = spells[1:36, ])
table_of <- function(name) {
  d <- if (is.null(frames[[name]])) read_table(name) else frames[[name]]
  for (k in names(d)) if (is.character(d[[k]])) d[[k]] <- factor(d[[k]], levels = sort(unique(d[[k]]), method = "radix"))
  d
}

fitted_by_r <- function(case, terms = case$terms, ...) {
  d <- table_of(case$data)
  if (!is.null(case$keep)) d <- d[eval(parse(text = case$keep), d), ]
  for (k in case$categories) d[[k]] <- factor(d[[k]])
  response <- if (is.null(case$entry)) sprintf("Surv(%s, %s)", case$duration, case$event) else
    sprintf("Surv(%s, %s, %s)", case$entry, case$duration, case$event)
  right <- paste(terms, collapse = " + ")
  if (!is.null(case$strata)) right <- sprintf("%s + strata(%s)", right, case$strata)
  if (!is.null(case$cluster)) right <- sprintf("%s + cluster(%s)", right, case$cluster)
  assign("d", d, globalenv())
  # robust: without clusters coxph would take fractional weights for a reason to use a sandwich.
  call <- list(as.name("coxph"), as.formula(paste(response, "~", right), globalenv()), data = as.name("d"), ties = case$ties,
    control = quote(control), x = TRUE, robust = !is.null(case$cluster))
  if (!is.null(case$weights)) call$weights <- as.name(case$weights)
  eval(as.call(c(call, list(...))), globalenv())
}

matrix_of <- function(x) unname(as.matrix(x))
changes <- function(m) lapply(setNames(nm = c("km", "log", "identity", "rank")), function(g) {
  table <- cox.zph(m, transform = g)$table
  list(statistic = unname(table[, "chisq"]), df = unname(table[, "df"]))
})

survival_of <- function(case, m) {
  new <- d[case$profiles, all.vars(delete.response(terms(m))), drop = FALSE]
  if (!is.null(case$strata)) new[[case$strata]] <- NULL
  curves <- survfit(m, newdata = new, conf.type = "log")
  times <- unlist(case$times)
  one <- function(s) {
    here <- if (is.null(s)) curves else curves[s, ]
    out <- summary(here, times = times, extend = TRUE)
    list(stratum = if (is.null(s)) "" else levels(d[[case$strata]])[s], survival = matrix_of(out$surv), std_error = matrix_of(out$std.err),
      low = matrix_of(out$lower), high = matrix_of(out$upper), cumhaz = matrix_of(out$cumhaz))
  }
  strata <- if (is.null(case$strata)) list(NULL) else seq_along(levels(d[[case$strata]]))
  list(profiles = new, times = times, strata = lapply(strata, one))
}

answer <- function(case) {
  m <- fitted_by_r(case)
  out <- case
  robust <- !is.null(case$cluster)
  out$beta <- unname(m$coefficients)
  out$vcov <- matrix_of(if (robust) m$naive.var else m$var)
  if (robust) out$robust <- matrix_of(m$var)
  out$loglik <- m$loglik
  message(case$name)
  # The exact likelihood with late entry comes back from coxph as a list without a class.
  if (!inherits(m, "coxph")) return(out)
  s <- summary(m)
  out$tests <- list(likelihood_ratio = 2 * diff(m$loglik), wald = unname(m$wald.test), score = unname(m$score),
    robust_score = if (robust) unname(s$robscore["test"]))
  counts <- unname(m$concordance)
  out$concordance <- list(estimate = counts[6], std_error = counts[7], concordant = counts[1], discordant = counts[2], tied = counts[3])
  some <- unique(round(seq(1, nrow(d), length.out = 25)))
  out$some <- some - 1
  out$residuals <- lapply(setNames(nm = c("martingale", "deviance")), function(k) unname(residuals(m, type = k))[some])
  if (case$ties != "exact") {
    for (k in c("score", "dfbeta", "dfbetas")) out$residuals[[k]] <- matrix_of(as.matrix(residuals(m, type = k))[some, , drop = FALSE])
    # Events of a stratum at one time come in any order.
    for (k in c("schoenfeld", "scaledsch")) {
      all <- as.matrix(residuals(m, type = k))
      out$residuals[[k]] <- list(sum = unname(colSums(all)), squares = unname(colSums(all^2)))
    }
    out$changes <- changes(m)
  }
  if (!is.null(case$profiles)) out$survival <- survival_of(case, m)
  out
}

# Frailty at a given variance, and the variance at which the marginal log-likelihood is largest.
frail_at <- function(case, theta) {
  term <- sprintf("frailty(%s, theta = %.17g, sparse = FALSE)", case$frailty, theta)
  m <- fitted_by_r(case, terms = c(case$terms, term))
  w <- m$coefficients[grepl("frailty", names(m$coefficients)) | names(m$coefficients) == ""]
  p <- length(case$terms_columns)
  w <- m$coefficients[-seq_len(p)]
  w <- w - log(mean(exp(w)))
  events <- tapply(d[[case$event]], factor(d[[case$frailty]]), sum)
  nu <- 1 / theta
  marginal <- m$loglik[2] + nu * sum(w) +
    sum(events - nu * log1p(events / nu) - events * log(nu + events) + lgamma(nu + events) - lgamma(nu))
  list(m = m, marginal = marginal, p = p, w = w)
}

frail_answer <- function(case) {
  out <- case
  case$terms_columns <- names(coef(fitted_by_r(case)))
  inside <- optimize(function(log_theta) frail_at(case, exp(log_theta))$marginal, log(case$between), maximum = TRUE, tol = 1e-9)
  theta <- exp(inside$maximum)
  # The top of a parabola is known to the root of rounding only; its slope is not.
  slope <- function(log_theta) sum(c(1, -8, 8, -1) * sapply(log_theta + 0.02 * c(-2, -1, 1, 2), function(x) frail_at(case, exp(x))$marginal))
  around <- log(theta) + c(-0.01, 0.01)
  theta <- exp(uniroot(slope, around, tol = 1e-12)$root)
  found <- frail_at(case, theta)
  keep <- seq_len(found$p)
  out$theta <- theta
  out$beta <- unname(found$m$coefficients[keep])
  out$std_error <- unname(sqrt(diag(found$m$var))[keep])
  out$vcov <- matrix_of(found$m$var[keep, keep])
  out$loglik <- found$marginal
  out$without <- fitted_by_r(case)$loglik[2]
  out$ratios <- unname(exp(found$w))
  message(case$name, "  ", theta)
  out
}

# Firth --------------------------------------------------------------------------------------------------------------
firth_answer <- function(case) {
  start <- fitted_by_r(case)
  p <- length(coef(start))
  inside <- if (is.null(case$entry)) coxph.fit else agreg.fit
  strata <- if (is.null(case$strata)) NULL else as.integer(d[[case$strata]])
  weights <- if (is.null(case$weights)) rep(1, nrow(d)) else d[[case$weights]]
  penalised <- function(b) {
    m <- inside(start$x, start$y, strata, NULL, b, coxph.control(iter.max = 0), weights, case$ties, NULL, resid = FALSE)
    information <- solve(m$var)
    list(value = m$loglik[1] + as.numeric(determinant(information)$modulus) / 2, loglik = m$loglik[1], vcov = m$var)
  }
  best <- function(start, held = NULL, value = NULL) {
    free <- setdiff(seq_len(p), held)
    full <- function(x) { b <- numeric(p); b[held] <- value; b[free] <- x; b }
    if (length(free) == 0) return(list(b = full(numeric(0)), value = penalised(full(numeric(0)))$value))
    fn <- function(x) -penalised(full(x))$value
    a <- nlminb(start[free], fn, control = list(rel.tol = 1e-15, x.tol = 1e-11, eval.max = 2000, iter.max = 1000))
    g <- optim(a$par, fn, method = "BFGS", control = list(reltol = 1e-16, ndeps = rep(1e-5, length(free))))
    x <- if (g$value < a$objective) g$par else a$par
    list(b = full(x), value = -fn(x))
  }
  top <- best(rep(0, p))
  out <- case
  out$beta <- top$b
  at <- penalised(top$b)
  out$vcov <- matrix_of(at$vcov)
  out$loglik <- at$loglik
  out$penalised_ratio <- 2 * (top$value - penalised(rep(0, p))$value)
  out$profiles <- lapply(seq_len(p), function(j) {
    fall <- function(c) 2 * (top$value - best(top$b, j, c)$value)
    reach <- function(direction) {
      se <- sqrt(at$vcov[j, j])
      uniroot(function(c) fall(c) - qchisq(0.95, 1), sort(top$b[j] + direction * c(0.2, 3) * se), extendInt = if (direction > 0) "upX" else "downX", tol = 1e-9)$root
    }
    list(low = reach(-1), high = reach(1), statistic = fall(0))
  })
  message(case$name)
  out
}

ridge_answer <- function(case) {
  theta <- case$penalty
  m <- fitted_by_r(case, terms = sprintf("ridge(%s, theta = %g)", paste(case$terms, collapse = ", "), theta))
  out <- case
  out$beta <- unname(coef(m)); out$vcov <- matrix_of(m$var); out$loglik <- m$loglik[2]; out$parameters <- unname(m$df)
  message(case$name)
  out
}

case <- function(name, data, duration, event, terms, ties = "efron", ...) list(name = name, data = data, duration = duration,
  event = event, terms = terms, ties = ties, ...)
full <- list()
for (ties in c("efron", "breslow", "exact")) for (entry in c(FALSE, TRUE)) for (strata in c(FALSE, TRUE)) {
  for (weights in if (ties == "exact") "none" else c("none", "whole", "part")) for (cluster in if (ties == "exact") FALSE else c(FALSE, TRUE)) {
    name <- paste(c(ties, if (entry) "entry", if (strata) "strata", if (weights != "none") weights, if (cluster) "cluster"), collapse = " ")
    full <- c(full, list(case(name, if (ties == "exact" && entry) "few" else "spells", "quarters", "stopped", c("support", "level"), ties = ties,
      entry = if (entry) "late", strata = if (strata) "region", weights = if (weights != "none") weights,
      cluster = if (cluster) "site", profiles = c(1, 2), times = c(0.5, 1, 2, 3))))
  }
}
untied <- case("untied, everything", "spells", "exact_years", "stopped", c("support", "level"), entry = "exact_late", strata = "region",
  weights = "part", cluster = "site", profiles = c(1, 2), times = c(0.5, 1, 2))
small <- data.frame(t0 = c(0, 0, 1, 2, 2, 3, 1, 0, 4, 5), t1 = c(4, 5, 6, 7, 9, 10, 11, 12, 13, 14), d = c(1, 1, 0, 1, 1, 0, 1, 1, 0, 1),
  x = c(1, 0, 1, 0, 1, 0, 0, 1, 1, 0))
tiny <- data.frame(t = c(1, 2, 3), d = c(1, 1, 1), x = c(1, 1, 0))
seven <- data.frame(years = c(1, 2, 3, 4, 5, 6, 7), stopped = c(1, 1, 0, 1, 0, 0, 0), during = c(1, 1, 1, 1, 0, 0, 0))
frames <- c(frames, list(small = small, tiny = tiny, seven = seven))
published <- list(
  case("lung", "lung", "time", "status == 2", c("age", "sex", "ph.ecog"), keep = "!is.na(ph.ecog)", profiles = c(1, 2), times = c(180, 365)),
  case("lung two terms", "lung", "time", "status == 2", c("age", "sex"), profiles = 1, times = c(180, 365)),
  case("lung by institution", "lung", "time", "status == 2", c("age", "sex", "ph.ecog"), keep = "!is.na(ph.ecog) & !is.na(inst)", cluster = "inst"),
  case("veteran", "veteran", "time", "status", c("trt", "celltype", "karno", "diagtime", "age", "prior"), profiles = c(1, 40), times = c(30, 100, 300)),
  case("heart", "heart", "stop", "event", c("age", "year", "surgery", "transplant"), entry = "start", profiles = c(1, 4), times = c(30, 300)),
  case("rossi", "rossi", "week", "arrest", c("fin", "age", "race", "wexp", "mar", "paro", "prio"), profiles = c(1, 2), times = c(10, 50)),
  case("bladder", "bladder2", "stop", "event", c("rx", "number", "size"), entry = "start", cluster = "id"),
  case("small, late entry", "small", "t1", "d", "x", entry = "t0", profiles = c(1, 2), times = c(4, 7, 12)))
frailties <- list(
  case("kidney", "kidney", "time", "status", c("age", "sex"), frailty = "id", between = c(0.2, 0.8)),
  case("rats", "rats", "time", "status", "rx", keep = "sex == 'f'", frailty = "litter", between = c(0.2, 1)),
  case("spells, strata and entry", "spells", "quarters", "stopped", c("support", "level"), entry = "late", strata = "region", frailty = "site", between = c(0.02, 2)),
  case("spells, breslow", "spells", "quarters", "stopped", c("support", "level"), ties = "breslow", frailty = "site", between = c(0.02, 2)))
firths <- list(
  case("tiny", "tiny", "t", "d", "x"),
  case("seven programmes", "seven", "years", "stopped", "during"),
  case("spells efron", "spells", "quarters", "stopped", c("support", "level"), entry = "late", strata = "region", weights = "part"),
  case("spells breslow", "spells", "quarters", "stopped", c("support", "level"), ties = "breslow"))
ridges <- list(case("lung ridge", "lung", "time", "status == 2", c("age", "sex", "ph.ecog"), keep = "!is.na(ph.ecog)", penalty = 20))

rules <- list(
  beta = list(kind = "relative to the larger of value and standard error", tolerance = 1e-8, reason = "both at the same optimum, found by Newton's method"),
  loglik = list(kind = "relative", tolerance = 1e-8, reason = "a sum over events"),
  std_error = list(kind = "relative to the product of two standard errors", tolerance = 1e-6, reason = "covariances: 1e-6 on each standard error"),
  statistic = list(kind = "relative", tolerance = 1e-6, reason = "quadratic forms of the above"),
  residual = list(kind = "relative to the largest", tolerance = 1e-7, reason = "functions of the estimates"),
  theta = list(kind = "relative", tolerance = 1e-7, reason = "the reference is where a difference of coxph's likelihoods is 0"),
  frail_beta = list(kind = "relative to the larger of value and standard error", tolerance = 1e-8, reason = "as theta"),
  firth = list(kind = "relative to the larger of value and standard error", tolerance = 1e-6, reason = "the reference is an optimum found without derivatives"))
out <- if (length(args) > 0) args[1] else file.path(here, "cox.json")
answers <- list(software = list(R = R.version$version.string, survival = as.character(packageVersion("survival"))), rules = rules,
  frames = lapply(frames, function(f) as.list(f)), cases = lapply(c(full, list(untied), published), answer),
  frailties = lapply(frailties, frail_answer), firths = lapply(firths, firth_answer), ridges = lapply(ridges, ridge_answer))
write(toJSON(answers, auto_unbox = TRUE, digits = NA, na = "null", null = "null"), out)
