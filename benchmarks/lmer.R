# R's side, one process a task: Rscript lmer.R growth|bootstrap|influence|power|mmrm|insteval|export|versions FOLDER REPETITIONS;
# prints JSON.
source(file.path(dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))), "common.R"))
suppressPackageStartupMessages(library(lme4))

visits <- function() data.frame(patient = factor(column("patient", "integer", 4)),
  cohort = factor(column("during", "integer", 4), labels = c("before", "during")),
  month = column("month", "double", 8), bsi = column("bsi", "double", 8))
grown <- function(d) lmer(bsi ~ month * cohort + (1 + month | patient), d)

# A study of n patients with a random slope: growth_tasks.py says what is true.
drawn <- function(n) {
  months <- c(0, 18, 36)
  during <- rep(0:1, each = n / 2)
  level <- 2 + rnorm(n, 0, 0.4)
  slope <- ifelse(during == 1, -0.25, -0.6) / 36 + rnorm(n, 0, 0.008)
  y <- level + outer(slope, months) + rnorm(3 * n, 0, 0.3)
  for (k in 1:2) {
    gone <- is.na(y[, k]) | runif(n) < plogis(qlogis(0.15) + 0.4 * (y[, k] - 2) / 0.5)
    y[gone, k + 1] <- NA
  }
  d <- data.frame(patient = rep(seq_len(n), 3), cohort = factor(rep(during, 3), labels = c("before", "during")),
    month = rep(months, each = n), bsi = c(y))
  d[!is.na(d$bsi), ]
}
# The difference in improvement up to month 36, and its standard error.
found <- function(d) {
  m <- suppressMessages(suppressWarnings(grown(d)))
  at <- "month:cohortduring"
  c(estimate = -36 * fixef(m)[[at]], error = 36 * sqrt(vcov(m)[at, at]))
}

if (args[1] == "growth") {
  d <- visits()
  t <- timed(function() grown(d))
  report(seconds = t$seconds, deviance = REMLcrit(t$model), estimates = I(unname(fixef(t$model))))
} else if (args[1] == "bootstrap") {
  m <- grown(visits())
  t <- timed(function() bootMer(m, fixef, nsim = 100))
  report(seconds = t$seconds, refits = nrow(t$model$t), sds = I(unname(apply(t$model$t, 2, sd))))
} else if (args[1] == "influence") {
  d <- visits()
  # Not by update(): it looks for its arguments in other frames first.
  without <- function(who) fixef(grown(d[d$patient != who, ]))
  b <- timed(function() sapply(levels(d$patient)[1:50], without))
  report(seconds = b$seconds, refits = ncol(b$model), estimates = unname(t(b$model)))
} else if (args[1] == "power") {
  set.seed(1)
  t <- timed(function() lapply(column("sizes", "integer", 4), function(n) replicate(50, found(drawn(n)))))
  estimates <- do.call(rbind, lapply(t$model, function(m) m["estimate", ]))
  report(seconds = t$seconds, fits = length(estimates), estimates = estimates,
    power = I(sapply(t$model, function(m) mean(abs(m["estimate", ] / m["error", ]) > qnorm(0.975)))))
} else if (args[1] == "mmrm") {
  suppressPackageStartupMessages(library(nlme))
  d <- visits()
  d$visit <- as.integer(factor(d$month))
  t <- timed(function() gls(bsi ~ factor(month) * cohort, d, correlation = corSymm(form = ~ visit | patient),
    weights = varIdent(form = ~ 1 | visit), method = "REML"))
  report(seconds = t$seconds, deviance = -2 * as.numeric(logLik(t$model)), estimates = I(unname(coef(t$model))))
} else if (args[1] == "insteval") {
  t <- timed(function() lmer(y ~ service + (1 | s) + (1 | d), InstEval, REML = FALSE))
  report(seconds = t$seconds, deviance = -2 * as.numeric(logLik(t$model)))
} else if (args[1] == "export") {
  for (k in c("s", "d", "service")) writeBin(as.integer(as.character(InstEval[[k]])), file.path(folder, paste0(k, ".bin")))
  writeBin(as.integer(InstEval$y), file.path(folder, "y.bin"))
  report(rows = nrow(InstEval))
} else {
  s <- sessionInfo()
  report(R = R.version$version.string, lme4 = as.character(packageVersion("lme4")), nlme = as.character(packageVersion("nlme")), Matrix = as.character(packageVersion("Matrix")),
    survival = as.character(packageVersion("survival")), blas = s$BLAS, lapack = s$LAPACK)
}
