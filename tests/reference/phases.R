# Reference values of states over time: Rscript tests/reference/phases.R [OUT.json]
#
# survfit with several states: probabilities, their infinitesimal jackknife by id, and mean times in states from the same
# influences, which must be what print says of them. Where states differ at the start, survfit 3.5 takes the shares at
# the start as known unless it is asked for influences; so it is asked.
suppressPackageStartupMessages({
  library(survival)
  library(jsonlite)
})
options(digits = 17)
args <- commandArgs(TRUE)
here <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))))
read_table <- function(name) read.csv(file.path(here, "data", paste0(name, ".csv")), stringsAsFactors = FALSE)
some <- function(x, most = 15) x[unique(round(seq(1, length(x), length.out = most)))]

# One row a stretch: id, from, to, was, then ("none": censored), and the group.
stretches <- function(case) {
  d <- read_table(case$data)
  if (case$data == "histories") {
    d <- data.frame(id = d$programme, from = d$start, to = d$stop, was = d$state, then = d$next_state, era = d$era)
  } else {
    d <- d[d[[case$duration]] > 0, ]
    then <- ifelse(d[[case$event]] == "censored", "none", d[[case$event]])
    d <- data.frame(id = seq_len(nrow(d)), from = 0, to = d[[case$duration]], was = "waiting", then = then, sex = d$sex)
  }
  d$group <- if (is.null(case$by)) "all" else d[[case$by]]
  d
}

mean_times <- function(fit, tau) {
  at <- fit$time[fit$time < tau]
  width <- diff(c(0, at, tau))
  influence <- fit$influence.pstate[, seq_len(length(at) + 1), , drop = FALSE]
  before <- rbind(fit$p0, fit$pstate[seq_along(at), , drop = FALSE])
  each <- apply(influence, c(1, 3), function(u) sum(u * width))
  list(tau = tau, estimate = colSums(before * width), std_error = sqrt(colSums(each^2)))
}

occupation <- function(case) {
  d <- stretches(case)
  states <- sort(setdiff(unique(c(d$was, d$then)), "none"), method = "radix")
  groups <- lapply(sort(unique(d$group), method = "radix"), function(g) {
    own <- d[d$group == g, ]
    own$event <- factor(own$then, c("none", states))
    own$was <- factor(own$was, states)
    fit <- survfit(Surv(from, to, event) ~ 1, own, id = id, istate = was, influence = TRUE, conf.type = case$interval)
    order <- match(states, fit$states)
    at <- some(seq_along(fit$time))
    means <- mean_times(fit, case$tau)
    said <- survival:::survmean2(survfit0(fit), scale = 1, rmean = case$tau)$matrix
    stopifnot(all.equal(unname(said[, "rmean"]), unname(means$estimate)))
    stopifnot(all.equal(unname(said[, "se(rmean)"]), unname(means$std_error)))
    rows <- lapply(order[!is.na(order)], function(k) list(state = fit$states[k], time = fit$time[at], at_risk = fit$n.risk[at, k],
      estimate = fit$pstate[at, k], std_error = fit$std.err[at, k], low = fit$lower[at, k], high = fit$upper[at, k],
      mean = means$estimate[k], mean_error = means$std_error[k]))
    list(group = g, initial = setNames(as.list(fit$p0), fit$states), rows = rows)
  })
  c(case, list(groups = groups))
}

cases <- list(
  list(name = "histories", data = "histories", interval = "logit", tau = 36),
  list(name = "histories by era", data = "histories", by = "era", interval = "log-log", tau = 30.5),
  list(name = "histories, log intervals", data = "histories", by = "era", interval = "log", tau = 24),
  list(name = "transplant by sex", data = "transplant", duration = "futime", event = "event", by = "sex", interval = "plain", tau = 365),
  list(name = "mgus2 by sex", data = "mgus2", duration = "time", event = "ended", by = "sex", interval = "logit", tau = 240))
rules <- list(
  estimate = list(kind = "absolute", tolerance = 1e-12, reason = "the same products of fractions"),
  std_error = list(kind = "relative", tolerance = 1e-9, reason = "sums of squares of the same influences"),
  interval = list(kind = "absolute", tolerance = 1e-10, reason = "smooth in both"),
  mean = list(kind = "relative", tolerance = 1e-11, reason = "sums of the estimates"))
software <- list(R = R.version$version.string, survival = as.character(packageVersion("survival")))
out <- if (length(args) > 0) args[1] else file.path(here, "phases.json")
write(toJSON(list(software = software, rules = rules, occupation = lapply(cases, occupation)), auto_unbox = TRUE,
  digits = I(15), na = "null", null = "null"), out)
