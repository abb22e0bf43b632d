# Reference values of parametric models of times: Rscript tests/reference/parametric.R [OUT.json]
#
# survreg, to its tightest tolerance, for exact and censored times and for intervals. It knows no delayed entry, no spline
# and no weights that leave its errors alone; there the likelihood is written out here, on survreg's own distribution
# functions, goes down with nlminb and BFGS, and ends with Newton steps on Richardson derivatives. Where survreg has the
# model too, the script stops if the two disagree.
suppressPackageStartupMessages({
  library(survival)
  library(numDeriv)
  library(jsonlite)
})
options(digits = 17, contrasts = c("contr.treatment", "contr.poly"))
args <- commandArgs(TRUE)
here <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))))
near <- function(a, b, what) if (max(abs(a - b)) > 1e-6 * max(1, abs(b))) stop(what, ": ", a, " is not ", b)

# Last time known active, first time known inactive (NA: active when last seen), entry, weight.
table_of <- function(case) {
  frame <- read.csv(file.path(here, "data", paste0(case$data, ".csv")), stringsAsFactors = FALSE)
  if (case$data == "lung") {
    event <- frame$status == 2
    frame$low <- frame$time
    frame$high <- ifelse(event, frame$time, NA)
  } else {
    event <- frame$status == "stopped"
    frame$era <- relevel(factor(frame$era), "before")
    frame$low <- if (case$between) frame$quarter - event else frame$quarter
    frame$high <- ifelse(event, frame$quarter, NA)
  }
  frame$from <- if (is.null(case$entry)) 0 else pmin(frame[[case$entry]], frame$low)
  frame$w <- if (is.null(case$weights)) 1 else frame[[case$weights]]
  frame
}

# Natural cubic spline, or a derivative of it: a constant, the distance from the first knot, and the truncated cubes that
# are straight outside.
basis <- function(u, knots, order = 0) {
  k <- length(knots)
  cube <- function(knot) switch(order + 1, pmax(u - knot, 0)^3, 3 * pmax(u - knot, 0)^2, 6 * pmax(u - knot, 0))
  columns <- switch(order + 1, cbind(0 * u + 1, u - knots[1]), cbind(0 * u, 0 * u + 1), cbind(0 * u, 0 * u))
  for (j in seq_len(k - 2)) {
    bend <- cube(knots[j]) - cube(knots[k - 1]) * (knots[k] - knots[j]) / (knots[k] - knots[k - 1]) +
      cube(knots[k]) * (knots[k - 1] - knots[j]) / (knots[k] - knots[k - 1])
    columns <- cbind(columns, bend / (knots[k] - knots[1])^2)
  }
  columns
}

# The log-likelihood of b and the shape; times of survreg's distributions are log(t) - x'b.
likelihood <- function(case, frame, X, knots) {
  word <- c(weibull = "extreme", `log-normal` = "gaussian", `log-logistic` = "logistic")[case$distribution]
  log_s <- function(u, shape) if (case$distribution == "spline") -exp(drop(basis(u, knots) %*% shape)) else
    log1p(-psurvreg(u, shape[1], exp(shape[2]), word))
  log_f <- function(u, shape) if (case$distribution == "spline") {
    level <- drop(basis(u, knots) %*% shape)
    level + log(drop(basis(u, knots, 1) %*% shape)) - exp(level)
  } else log(dsurvreg(u, shape[1], exp(shape[2]), word))
  function(theta) {
    b <- theta[seq_len(ncol(X))]
    shape <- theta[-seq_len(ncol(X))]
    eta <- drop(X %*% b)
    s <- function(t) ifelse(t > 0, exp(suppressWarnings(log_s(log(pmax(t, 1e-300)) - eta, shape))), 1)
    exact <- !is.na(frame$high) & frame$high == frame$low
    out <- log(s(frame$low) - ifelse(is.na(frame$high), 0, s(ifelse(is.na(frame$high), 1, frame$high))))
    out[exact] <- (log_f(log(frame$low) - eta, shape) - log(frame$low))[exact]
    sum(frame$w * (out - log(s(frame$from))))
  }
}

# The slope of a spline's log-likelihood, whose second derivatives bend where a row meets a knot: differences of values
# would step over them.
spline_slope <- function(frame, X, knots) function(theta) {
  b <- theta[seq_len(ncol(X))]
  shape <- theta[-seq_len(ncol(X))]
  at <- function(t) {
    u <- log(t) - drop(X %*% b)
    B <- basis(u, knots)
    slope <- drop(basis(u, knots, 1) %*% shape)
    hazard <- exp(drop(B %*% shape))
    list(B = B, slope = slope, hazard = hazard, survival = exp(-hazard), u = u)
  }
  bare <- list(B = 0 * basis(rep(1, nrow(frame)), knots), slope = 0, hazard = 0, survival = 1)
  from <- function(t) if (all(t == 0)) bare else { a <- at(pmax(t, 1e-300)); a$hazard[t == 0] <- 0; a$survival[t == 0] <- 1; a }
  low <- from(frame$low); high <- at(ifelse(is.na(frame$high), 1, frame$high)); entry <- from(frame$from)
  gone <- ifelse(is.na(frame$high), 0, high$survival)
  share <- low$survival - gone
  first <- -low$hazard * low$survival / share
  second <- high$hazard * gone / share
  exact <- !is.na(frame$high) & frame$high == frame$low
  by_u <- first * low$slope + second * high$slope
  by_shape <- first * low$B + second * high$B
  bend <- drop(basis(high$u, knots, 2) %*% shape)
  by_u[exact] <- (high$slope + bend / high$slope - high$hazard * high$slope)[exact]
  by_shape[exact, ] <- (high$B * (1 - high$hazard) + basis(high$u, knots, 1) / high$slope)[exact, ]
  by_u <- by_u + entry$hazard * entry$slope
  by_shape <- by_shape + entry$hazard * entry$B
  colSums(frame$w * cbind(-X * by_u, by_shape))
}

highest <- function(fn, start, slope = NULL) {
  down <- function(theta) { v <- suppressWarnings(-fn(theta)); if (is.finite(v)) v else 1e10 }
  a <- nlminb(start, down, control = list(rel.tol = 1e-14, eval.max = 5000, iter.max = 2000))
  best <- optim(a$par, down, method = "BFGS", control = list(reltol = 1e-15, maxit = 2000))$par
  for (k in 1:6) {
    step <- solve(hessian(down, best), grad(down, best))
    if (down(best - step) > down(best) + 1e-9) break
    best <- best - step
  }
  if (is.null(slope)) second <- hessian(down, best) else {
    stopifnot(max(abs(slope(best + 0.01) + grad(down, best + 0.01))) < 1e-5 * max(1, abs(slope(best + 0.01))))
    steps <- diag(1e-6 * pmax(1, abs(best)))
    second <- -sapply(seq_along(best), function(j) (slope(best + steps[, j]) - slope(best - steps[, j])) / (2 * steps[j, j]))
  }
  list(par = best, vcov = solve((second + t(second)) / 2), value = -down(best), gradient = max(abs(grad(down, best))))
}

answer <- function(case) {
  frame <- table_of(case)
  X <- model.matrix(as.formula(paste("~", case$terms)), frame)[, -1, drop = FALSE]
  center <- colSums((frame$w * X)[!is.na(frame$high), , drop = FALSE]) / sum(frame$w[!is.na(frame$high)])
  ended <- !is.na(frame$high)
  knots <- if (case$distribution == "spline") unname(quantile(log((frame$low + frame$high) / 2)[ended], seq(0, 1, length.out = case$df + 1)))
  mean <- log(sum(frame$w * (ifelse(ended, frame$high, frame$low) - frame$from)) / sum(frame$w[ended]))
  start <- c(0 * center, if (is.null(knots)) c(mean, 0) else c(knots[1] - mean, 1, rep(0, case$df - 1)))
  Z <- sweep(X, 2, center)
  end <- highest(likelihood(case, frame, Z, knots), start, if (!is.null(knots)) spline_slope(frame, Z, knots))
  stopifnot(end$gradient < 1e-5)
  J <- diag(length(end$par))
  if (is.null(knots)) J[ncol(X) + 1, seq_len(ncol(X))] <- -center
  theta <- drop(J %*% end$par)
  v <- J %*% end$vcov %*% t(J)
  names <- c(colnames(X), "(Intercept)", if (is.null(knots)) "log(scale)" else c("log(time)", if (case$df > 1) paste("log(time) spline", 2:case$df)))
  out <- c(case, list(rows = lapply(seq_along(theta), function(j) list(term = names[j], estimate = theta[j], std_error = sqrt(v[j, j]))),
    loglik = end$value))
  if (is.null(knots) && is.null(case$entry) && is.null(case$weights)) {
    y <- Surv(ifelse(frame$low > 0, frame$low, NA), frame$high, type = "interval2")
    dist <- c(weibull = "weibull", `log-normal` = "lognormal", `log-logistic` = "loglogistic")[case$distribution]
    m <- survreg(as.formula(paste("y ~", case$terms)), frame, dist = dist, control = survreg.control(rel.tolerance = 1e-13, maxiter = 200))
    near(m$loglik[2], end$value, case$name)
    near(c(coef(m)[-1], coef(m)[1], log(m$scale)), theta, case$name)
    near(sqrt(diag(vcov(m)))[c(seq_len(ncol(X)) + 1, 1, ncol(X) + 2)], sqrt(diag(v)), case$name)
    new <- frame[1, ]
    for (k in names(case$profile)) new[[k]] <- if (is.factor(new[[k]])) factor(case$profile[[k]], levels(new[[k]])) else case$profile[[k]]
    p <- c(0.25, 0.5, 0.75)
    q <- predict(m, new, type = "quantile", p = p, se.fit = TRUE)
    out$quantiles <- list(p = p, estimate = as.vector(q$fit), std_error = as.vector(q$se.fit))
  }
  message(sprintf("%-36s %.8f %.1e", case$name, end$value, end$gradient))
  out
}

case <- function(name, data, distribution, terms, between = FALSE, profile = list(era = "during", support = 4), ...)
  list(name = name, data = data, distribution = distribution, terms = terms, between = between, profile = profile, ...)
person <- list(age = 60, sex = 1)
three <- c("weibull", "log-normal", "log-logistic")
cases <- c(
  lapply(three, function(d) case(paste("lung", d), "lung", d, "age + sex", profile = person)),
  lapply(three, function(d) case(paste("quarters", d, "intervals"), "quarters", d, "era + support", TRUE)),
  lapply(three, function(d) case(paste("quarters", d, "late, weighted"), "quarters", d, "era + support", entry = "entry", weights = "share")),
  lapply(three, function(d) case(paste("quarters", d, "late, intervals"), "quarters", d, "era * support", TRUE, entry = "entry")),
  list(
    case("lung spline", "lung", "spline", "age + sex", profile = person, df = 3),
    case("quarters spline, late", "quarters", "spline", "era + support", entry = "entry", df = 2),
    case("quarters spline, intervals", "quarters", "spline", "era + support", TRUE, df = 3)))

rules <- list(
  fixed = list(kind = "relative to the larger of value and standard error", tolerance = 1e-7,
    reason = "R's end is a maximum to 1e-5 in the gradient"),
  std_error = list(kind = "relative", tolerance = 1e-5, reason = "second differences of the likelihood in R"),
  loglik = list(kind = "absolute", tolerance = 1e-7, reason = "flat at its maximum"))
out <- if (length(args) > 0) args[1] else file.path(here, "parametric.json")
write(toJSON(list(software = list(R = R.version$version.string, survival = as.character(packageVersion("survival"))), rules = rules,
  cases = lapply(cases, answer)), auto_unbox = TRUE, digits = NA, na = "null", null = "null", pretty = TRUE), out)
