# Reference values of hazards in discrete time: Rscript tests/reference/discrete.R [OUT.json]
#
# glm on person-period rows that are written out one by one, to glm's tightest tolerance; sandwich::vcovCL without its
# factors for small numbers; and, beside them, coxph on the same grouped times and on the times behind them.
suppressPackageStartupMessages({
  library(survival)
  library(splines)
  library(sandwich)
  library(jsonlite)
})
options(digits = 17, contrasts = c("contr.treatment", "contr.poly"))
args <- commandArgs(TRUE)
here <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))))

table_of <- function(name) {
  frame <- read.csv(file.path(here, "data", paste0(name, ".csv")), stringsAsFactors = FALSE)
  if (name == "lung") {
    frame <- frame[!is.na(frame$ph.ecog) & !is.na(frame$inst), ]
    frame$period <- ceiling(frame$time / 90)
    frame$happened <- as.numeric(frame$status == 2)
  } else {
    frame$period <- frame$quarter
    frame$happened <- as.numeric(frame$status == "stopped")
    frame$era <- relevel(factor(frame$era), "before")
  }
  frame
}

# One row per person and period at risk.
periods_of <- function(frame, entry, weight) {
  from <- if (is.null(entry)) rep(0, nrow(frame)) else frame[[entry]]
  rows <- rep(seq_len(nrow(frame)), frame$period - from)
  long <- frame[rows, ]
  long$t <- from[rows] + sequence(frame$period - from)
  long$y <- as.numeric(long$happened == 1 & long$t == long$period)
  long$w <- if (is.null(weight)) 1 else long[[weight]]
  long
}

# A period without events (or with nothing else) would have an infinite parameter, and says nothing about the terms.
informative <- function(long) {
  share <- tapply(long$y, long$t, mean)
  long[long$t %in% names(share)[share > 0 & share < 1], ]
}

baseline_of <- function(case, long) {
  if (case$baseline == "free") return("0 + factor(t)")
  if (case$baseline == "polynomial") {
    return(paste(c("1", if (case$degree > 0) paste0("I(t^", seq_len(case$degree), ")")), collapse = " + "))
  }
  knots <- unname(quantile(sort(unique(long$t)), seq(0, 1, length.out = case$df + 1)))
  sprintf("ns(t, knots = c(%s), Boundary.knots = c(%s))", paste(knots[2:case$df], collapse = ", "),
    paste(knots[c(1, case$df + 1)], collapse = ", "))
}

answer <- function(case) {
  long <- periods_of(table_of(case$data), case$entry, case$weights)
  all_rows <- nrow(long)
  if (case$baseline == "free") long <- informative(long)
  formula <- as.formula(paste("y ~", baseline_of(case, long), "+", case$terms))
  m <- suppressWarnings(glm(formula, binomial(case$link), long, weights = w,
    control = glm.control(epsilon = 1e-15, maxit = 100)))
  # Fisher scoring once more from the end: its weights are those of the estimate itself.
  m <- suppressWarnings(update(m, start = coef(m)))
  v <- if (is.null(case$cluster)) summary(m, dispersion = 1)$cov.unscaled else
    vcovCL(m, cluster = long[[case$cluster]], type = "HC0", cadjust = FALSE)
  p <- fitted(m)
  mine <- grep("factor\\(t\\)|I\\(t\\^|Intercept|ns\\(t", names(coef(m)), invert = TRUE)
  own <- if (case$baseline == "spline") mine else seq_along(coef(m))
  first <- !duplicated(long$t)
  new <- long[first, ]
  profile <- case$profile
  for (k in names(profile)) new[[k]] <- if (is.factor(new[[k]])) factor(profile[[k]], levels(new[[k]])) else profile[[k]]
  new <- new[order(new$t), ]
  X <- model.matrix(delete.response(terms(m)), new, xlev = m$xlevels)
  eta <- drop(X %*% coef(m))
  message(case$name)
  c(case, list(
    rows = lapply(own, function(j) list(term = names(coef(m))[j], estimate = coef(m)[[j]], std_error = sqrt(v[j, j]))),
    loglik = sum(long$w * (long$y * log(p) + (1 - long$y) * log(1 - p))), person_periods = all_rows,
    hazard = list(time = new$t, estimate = unname(m$family$linkinv(eta)), link_se = unname(sqrt(diag(X %*% v %*% t(X)))))))
}

case <- function(name, data, terms, profile, link = "cloglog", baseline = "free", ...)
  list(name = name, data = data, terms = terms, profile = profile, link = link, baseline = baseline, ...)
person <- list(age = 60, sex = 2, ph.ecog = 1)
place <- list(era = "during", support = 4, training = 1)
cases <- list(
  case("lung", "lung", "age + sex + ph.ecog", person),
  case("lung logit", "lung", "age + sex + ph.ecog", person, "logit"),
  case("lung by inst", "lung", "age + sex + ph.ecog", person, cluster = "inst"),
  case("quarters line", "quarters", "era + support + training", place, baseline = "polynomial", degree = 1),
  case("quarters constant logit", "quarters", "era + support", place[1:2], "logit", "polynomial", degree = 0),
  case("quarters cubic, all roles", "quarters", "era * support", place[1:2], baseline = "polynomial", degree = 3,
    entry = "entry", weights = "share", cluster = "provider"),
  case("quarters cubic, all roles, logit", "quarters", "era * support", place[1:2], "logit", "polynomial", degree = 3,
    entry = "entry", weights = "share", cluster = "provider"),
  case("quarters spline", "quarters", "era + support", place[1:2], baseline = "spline", df = 3),
  case("quarters spline, delayed entry, logit", "quarters", "era + support", place[1:2], "logit", "spline", df = 4, entry = "entry")
)

# What a Cox model says of the grouped times, and of the days behind them: near, not the same.
cox <- function() {
  lung <- table_of("lung")
  one <- function(column, ties) {
    lung$stop <- lung[[column]]
    unname(coef(coxph(Surv(stop, happened) ~ age + sex + ph.ecog, lung, ties = ties)))
  }
  list(terms = c("age", "sex", "ph.ecog"), days = one("time", "efron"), exact = one("period", "exact"))
}

rules <- list(
  fixed = list(kind = "relative to the larger of value and standard error", tolerance = 1e-8,
    reason = "the same maximum, by Fisher scoring to the last digits on either side"),
  std_error = list(kind = "relative", tolerance = 1e-7, reason = "first order in the estimates"),
  loglik = list(kind = "absolute", tolerance = 1e-8, reason = "flat at its maximum"),
  hazard = list(kind = "relative", tolerance = 1e-7, reason = "as the estimates, on the scale of the link"),
  count = list(kind = "absolute", tolerance = 0, reason = "a count"))
out <- if (length(args) > 0) args[1] else file.path(here, "discrete.json")
write(toJSON(list(software = list(R = R.version$version.string, sandwich = as.character(packageVersion("sandwich")),
  survival = as.character(packageVersion("survival"))), rules = rules, cases = lapply(cases, answer), cox = cox()),
  auto_unbox = TRUE, digits = NA, na = "null", null = "null", pretty = TRUE), out)
