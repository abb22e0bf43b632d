# R's side, one process a task: Rscript lmer.R growth|bootstrap|influence|mmrm|insteval|export|versions FOLDER REPETITIONS;
# prints JSON.
source(file.path(dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))), "common.R"))
suppressPackageStartupMessages(library(lme4))

visits <- function() data.frame(patient = factor(column("patient", "integer", 4)),
  cohort = factor(column("during", "integer", 4), labels = c("before", "during")),
  month = column("month", "double", 8), bsi = column("bsi", "double", 8))
grown <- function(d) lmer(bsi ~ month * cohort + (1 + month | patient), d)

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
