# Kaplan-Meier, log-rank and restricted means by survival: Rscript tests/reference/curves.R [OUT]
suppressPackageStartupMessages({ library(survival); library(jsonlite) })
here <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))))
args <- commandArgs(TRUE)
options(digits = 17)
read <- function(name) read.csv(file.path(here, "data", paste0(name, ".csv")))
near <- function(a, b, what) if (max(abs(a - b)) > 1e-9 * max(1, abs(b))) stop(what, ": ", a, " is not ", b)

# Small tables with what the two published ones lack: delayed entry, weights, heavy ties, a curve flat at a half.
delayed <- data.frame(start = c(0, 0, 1, 2, 2, 3, 1, 0, 4, 5), stop = c(4, 5, 6, 7, 9, 10, 11, 12, 13, 14),
  event = c(1, 1, 0, 1, 1, 0, 1, 1, 0, 1), x = c("b", "a", "b", "a", "b", "a", "a", "b", "b", "a"),
  whole = c(2, 1, 3, 1, 1, 2, 4, 1, 1, 2), part = c(1.5, 0.7, 2, 1, 0.3, 1.2, 0.9, 2.2, 1, 0.4))
set.seed(20170903)
quarters <- data.frame(group = sample(c("a", "b", "c"), 60, TRUE), region = sample(c("n", "s"), 60, TRUE))
quarters$stop <- 1 + pmin(rgeom(60, 0.10 + 0.05 * (quarters$group == "b")), 15)
quarters$start <- pmax(0, quarters$stop - sample(1:16, 60, TRUE))
quarters$event <- as.integer(quarters$stop < 16 & runif(60) < 0.7)
quarters$whole <- sample(3, 60, TRUE); quarters$part <- round(runif(60, 0.4, 2.5), 3)
flat <- data.frame(stop = c(1, 2, 3, 5, 8, 9), event = c(1, 1, 1, 0, 0, 0))
even <- data.frame(stop = c(1, 2, 4, 6), event = c(1, 1, 1, 1))
tables <- list(lung = read("lung"), veteran = read("veteran"), delayed = delayed, quarters = quarters, flat = flat, even = even)
published <- c("lung", "veteran")
TYPES <- c(log = "log", `log-log` = "log-log", plain = "plain", logit = "logit", arcsine = "arcsin")

parts <- function(case) {
  d <- tables[[case$data]]
  event <- as.integer(d[[case$event]] != case$censored)
  list(stop = d[[case$duration]], start = if (is.null(case$entry)) rep(0, nrow(d)) else d[[case$entry]], event = event,
    group = if (is.null(case$by)) rep("all", nrow(d)) else d[[case$by]], delayed = !is.null(case$entry),
    weight = if (is.null(case$weights)) rep(1, nrow(d)) else d[[case$weights]])
}

# Kaplan-Meier ------------------------------------------------------------------------------------------------------
curve <- function(p, keep, event = p$event, ...) {
  y <- if (p$delayed) Surv(p$start, p$stop, event) else Surv(p$stop, event)
  survfit(y ~ 1, subset = keep, weights = p$weight, ...)
}

answer <- function(case) {
  p <- parts(case)
  level <- if (is.null(case$level)) 0.95 else case$level
  out <- case
  out$groups <- lapply(sort(unique(p$group)), function(g) {
    keep <- p$group == g
    fits <- lapply(TYPES, function(type) curve(p, keep, conf.type = type, conf.int = level))
    times <- case$times[case$times <= max(p$stop[keep])]
    ends <- lapply(fits, function(f) summary(f, times = times))
    log <- ends$log
    q <- quantile(fits$log, c(0.25, 0.5, 0.75))
    back <- quantile(curve(p, keep, 1 - p$event, conf.int = level), 0.5)
    w <- p$weight
    list(group = g, time = times, survival = log$surv, std_error = ifelse(log$surv > 0, log$std.err, NA),
      at_risk = sapply(times, function(t) sum(w[keep & p$start < t & p$stop >= t])),
      events = sapply(times, function(t) sum(w[keep & p$event == 1 & p$stop <= t])),
      censored = sapply(times, function(t) sum(w[keep & p$event == 0 & p$stop <= t])),
      intervals = lapply(ends, function(s) list(low = s$lower, high = s$upper)),
      quantiles = list(share = c(0.25, 0.5, 0.75), estimate = unname(q$quantile), low = unname(q$lower), high = unname(q$upper)),
      follow_up = unname(c(back$quantile, back$lower, back$upper)))
  })
  message(case$name)
  out
}

# Restricted means: written out, and held to what print(fit, rmean =) says -----------------------------------------------
area <- function(time, height, from, to) sum(diff(c(from, time[time > from & time < to], to)) *
  stepfun(time, c(1, height))(c(from, time[time > from & time < to])))
mean_to <- function(p, keep, tau) {
  fractional <- any(p$weight[keep] != floor(p$weight[keep]))
  f <- curve(p, keep, influence = fractional)
  value <- area(f$time, f$surv, 0, tau)
  if (fractional) {
    # survfit gives w dS(t) / dw per row and time; its sums of squares must give survfit's own standard errors.
    infl <- f$influence.surv
    near(sqrt(colSums(infl^2)), f$std.err, "influence")
    at <- f$time < tau
    error <- sqrt(sum((infl[, at, drop = FALSE] %*% diff(c(f$time[at], tau)))^2))
  } else {
    own <- which(f$time <= tau & f$n.event > 0 & f$n.risk > f$n.event)
    rest <- sapply(f$time[own], function(t) area(f$time, f$surv, t, tau))
    error <- sqrt(sum(rest^2 * f$n.event[own] / (f$n.risk[own] * (f$n.risk[own] - f$n.event[own]))))
    own <- survival:::survmean(f, rmean = tau)$matrix
    near(c(value, error), own[c("rmean", "se(rmean)")], "restricted mean")
  }
  list(mean = value, error = error)
}
restricted <- function(case) {
  p <- parts(case)
  out <- case
  all <- lapply(sort(unique(p$group)), function(g) c(group = g, mean_to(p, p$group == g, case$tau)))
  out$groups <- all
  first <- all[[1]]
  z <- qnorm(0.975)
  out$compared <- lapply(all[-1], function(other) {
    difference <- other$mean - first$mean
    error <- sqrt(other$error^2 + first$error^2)
    ratio <- log(other$mean / first$mean)
    error_log <- sqrt((other$error / other$mean)^2 + (first$error / first$mean)^2)
    list(group = other$group, difference = difference + error * c(0, -z, z), ratio = exp(ratio + error_log * c(0, -z, z)))
  })
  out
}

# Log-rank family: k tables at every event time, written out ------------------------------------------------------------
weight_of <- function(case, n, survival) switch(case$weights,
  logrank = 1, wilcoxon = n, `tarone-ware` = sqrt(n),
  `fleming-harrington` = survival^(if (is.null(case$rho)) 0 else case$rho) * (1 - survival)^(if (is.null(case$gamma)) 0 else case$gamma))
tested <- function(case) {
  d <- tables[[case$data]]
  if (!is.null(case$strata)) d <- d[!is.na(d[[case$strata]]), ]
  event <- as.integer(d[[case$event]] != case$censored)
  stop <- d[[case$duration]]
  start <- if (is.null(case$entry)) rep(0, nrow(d)) else d[[case$entry]]
  group <- factor(d[[case$by]])
  stratum <- if (is.null(case$strata)) rep(1, nrow(d)) else d[[case$strata]]
  k <- nlevels(group)
  observed <- expected <- rep(0, k)
  covariance <- matrix(0, k, k)
  for (s in unique(stratum)) {
    survival <- 1
    for (t in sort(unique(stop[event == 1 & stratum == s]))) {
      risk <- stratum == s & start < t & stop >= t
      n <- sum(risk); ng <- as.vector(table(group[risk]))
      now <- risk & stop == t & event == 1
      dd <- sum(now)
      w <- weight_of(case, n, survival)
      observed <- observed + w * as.vector(table(group[now]))
      expected <- expected + w * dd * ng / n
      if (n > 1) covariance <- covariance + w^2 * dd * (n - dd) / (n - 1) * (diag(ng / n, k) - ng %o% ng / n^2)
      survival <- survival * (1 - dd / n)
    }
  }
  difference <- observed - expected
  statistic <- if (is.null(case$trend)) sum(difference[-1] * solve(covariance[-1, -1], difference[-1])) else {
    scores <- unlist(case$trend)[levels(group)]
    sum(scores * difference)^2 / as.vector(scores %*% covariance %*% scores)
  }
  power <- c(logrank = 0, `fleming-harrington` = if (is.null(case$rho)) 0 else case$rho)[case$weights]
  if (is.null(case$entry) && !is.na(power) && is.null(case$gamma)) {
    right <- if (is.null(case$strata)) survdiff(Surv(stop, event) ~ group, rho = power) else
      survdiff(Surv(stop, event) ~ group + strata(stratum), rho = power)
    near(c(right$var), c(covariance), paste(case$name, "survdiff's covariance"))
    if (is.null(case$trend)) near(statistic, right$chisq, paste(case$name, "survdiff"))
  }
  # The score test of the exact partial likelihood is the log-rank test, delayed entry or not.
  if (case$weights == "logrank" && is.null(case$trend)) {
    y <- Surv(start, stop, event)
    cox <- if (is.null(case$strata)) coxph(y ~ group, ties = "exact") else coxph(y ~ group + strata(stratum), ties = "exact")
    near(statistic, cox$score, paste(case$name, "coxph's score test"))
  }
  out <- case
  df <- if (is.null(case$trend)) k - 1 else 1
  out$answer <- list(statistic = statistic, df = df, p_value = pchisq(statistic, df, lower.tail = FALSE), group = levels(group),
    observed = observed, expected = expected, covariance = covariance)
  message(case$name)
  out
}

# Cases -----------------------------------------------------------------------------------------------------------------
case <- function(name, data, duration, event, ...) list(name = name, data = data, duration = duration, event = event, ...)
lung <- function(name, ...) case(name, "lung", "time", "status", censored = 1, ...)
veteran <- function(name, ...) case(name, "veteran", "time", "status", censored = 0, ...)
small <- function(name, data, ...) case(name, data, "stop", "event", censored = 0, ...)
days <- c(5, 60, 100, 180, 270, 365, 500, 730, 883)
curves <- list(
  lung("lung", times = days),
  lung("lung by sex", by = "sex", times = days),
  lung("lung by sex, 80 %", by = "sex", times = days, level = 0.8),
  veteran("veteran by cell type", by = "celltype", times = c(1, 8, 25, 51, 80, 111, 132, 200, 250, 400, 553)),
  small("delayed entry", "delayed", entry = "start", times = 1:14),
  small("delayed entry, whole weights", "delayed", entry = "start", weights = "whole", times = 1:14),
  small("delayed entry, fractional weights", "delayed", entry = "start", weights = "part", times = 1:14),
  small("fractional weights", "delayed", weights = "part", times = 1:14),
  small("fractional weights by group", "delayed", weights = "part", by = "x", times = 4:14),
  small("quarters with heavy ties, delayed entry", "quarters", entry = "start", by = "group", times = 1:16),
  small("flat at a half to the end", "flat", times = c(1, 3, 4, 9)),
  small("flat at a half", "even", times = c(1, 2, 3, 5)))
means <- list(
  lung("lung by sex to 500", by = "sex", tau = 500),
  lung("lung to the last time of both", by = "sex", tau = 965),
  veteran("veteran by cell type to 150", by = "celltype", tau = 150),
  small("delayed entry to 12", "delayed", entry = "start", by = "x", tau = 12),
  small("whole weights to 10", "delayed", weights = "whole", by = "x", tau = 10),
  small("fractional weights to 11.5", "delayed", entry = "start", weights = "part", tau = 11.5),
  small("fractional weights by group to 12", "delayed", weights = "part", by = "x", tau = 12))
fh <- "fleming-harrington"
tests <- list(
  lung("lung by sex", by = "sex", weights = "logrank"),
  lung("lung by sex, rho 1", by = "sex", weights = fh, rho = 1),
  lung("lung by sex, gamma 1", by = "sex", weights = fh, gamma = 1),
  lung("lung by sex, rho and gamma 0.5", by = "sex", weights = fh, rho = 0.5, gamma = 0.5),
  lung("lung by sex, Wilcoxon", by = "sex", weights = "wilcoxon"),
  lung("lung by sex, Tarone-Ware", by = "sex", weights = "tarone-ware"),
  lung("lung by sex within institutions", by = "sex", strata = "inst", weights = "logrank"),
  lung("lung by sex within institutions, rho 1", by = "sex", strata = "inst", weights = fh, rho = 1),
  lung("lung by sex within institutions, Wilcoxon", by = "sex", strata = "inst", weights = "wilcoxon"),
  veteran("veteran by cell type", by = "celltype", weights = "logrank"),
  veteran("veteran by cell type, rho 1", by = "celltype", weights = fh, rho = 1),
  veteran("veteran by cell type within treatments", by = "celltype", strata = "trt", weights = "logrank"),
  veteran("veteran by cell type, trend", by = "celltype", weights = "logrank",
    trend = list(adeno = 3, large = 0, smallcell = 2, squamous = 0)),
  veteran("veteran by cell type within treatments, trend, rho 1", by = "celltype", strata = "trt", weights = fh, rho = 1,
    trend = list(adeno = 3, large = 0, smallcell = 2, squamous = 1)),
  small("delayed entry", "delayed", entry = "start", by = "x", weights = "logrank"),
  small("delayed entry, rho 1", "delayed", entry = "start", by = "x", weights = fh, rho = 1),
  small("quarters with heavy ties, delayed entry", "quarters", entry = "start", by = "group", weights = "logrank"),
  small("quarters within regions", "quarters", by = "group", strata = "region", weights = "logrank"),
  small("quarters within regions, delayed entry", "quarters", entry = "start", by = "group", strata = "region", weights = "logrank"),
  small("quarters within regions, delayed entry, Tarone-Ware", "quarters", entry = "start", by = "group", strata = "region",
    weights = "tarone-ware"),
  small("quarters, trend", "quarters", entry = "start", by = "group", weights = "logrank", trend = list(a = 0, b = 1, c = 2)))

# Every role with every other: late entry, weights, groups; and strata with each weight of an event time.
crossed <- function(entry, weights, by, ...) {
  said <- c(if (entry) "late", if (weights != "none") paste(weights, "weights"), if (by) "by group")
  roles <- list(entry = if (entry) "start", weights = if (weights != "none") weights, by = if (by) "group")
  do.call(small, c(list(paste("cross:", paste(c("quarters", said), collapse = ", ")), "quarters"), roles[lengths(roles) > 0], list(...)))
}
for (entry in c(FALSE, TRUE)) for (weights in c("none", "whole", "part")) for (by in c(FALSE, TRUE)) {
  curves <- c(curves, list(crossed(entry, weights, by, times = c(1, 4, 7, 12))))
  means <- c(means, list(crossed(entry, weights, by, tau = 12)))
}
for (entry in c(FALSE, TRUE)) for (strata in c(FALSE, TRUE)) for (weights in c("logrank", "wilcoxon", "tarone-ware", fh)) {
  name <- paste("cross:", paste(c(weights, if (entry) "late", if (strata) "within regions"), collapse = ", "))
  roles <- list(entry = if (entry) "start", strata = if (strata) "region", rho = if (weights == fh) 0.5, gamma = if (weights == fh) 1)
  tests <- c(tests, list(do.call(small, c(list(name, "quarters", by = "group", weights = weights), roles[lengths(roles) > 0]))))
}

rules <- list(
  fixed = list(kind = "relative", tolerance = 1e-9, reason = "closed formulas on both sides: they differ by rounding only"),
  df = list(kind = "absolute", tolerance = 0, reason = "a count"))
out <- if (length(args) > 0) args[1] else file.path(here, "curves.json")
software <- list(R = R.version$version.string, survival = as.character(packageVersion("survival")))
write(toJSON(list(software = software, rules = rules, frames = lapply(tables[setdiff(names(tables), published)], as.list),
  cases = list(curves = lapply(curves, answer), means = lapply(means, restricted), tests = lapply(tests, tested))), auto_unbox = TRUE, digits = NA, na = "null", null = "null", pretty = FALSE), out)
