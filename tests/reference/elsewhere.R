# Answers of R that are wrong or short of the truth, for test_known_wrong_elsewhere.py: Rscript tests/reference/elsewhere.R [OUT.json]
suppressPackageStartupMessages({
  library(survival)
  library(cmprsk)
  library(jsonlite)
})
options(digits = 17)
args <- commandArgs(TRUE)
here <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))))
read_table <- function(name) read.csv(file.path(here, "data", paste0(name, ".csv")))
warned <- NULL
quietly <- function(call) {
  warned <<- character(0)
  withCallingHandlers(call, warning = function(w) { warned <<- c(warned, conditionMessage(w)); invokeRestart("muffleWarning") })
}

# Gamma frailty: by default information between groups is taken as diagonal, and the outer loop ends early.
kidney <- read_table("kidney")
frail <- function(term, ...) quietly(coxph(as.formula(paste("Surv(time, status) ~ age + sex +", term)), kidney, ...))
by_default <- frail("frailty(id)")
sparse <- frail("frailty(id, theta = 0.4077697)", control = coxph.control(eps = 1e-12, iter.max = 100))
frailty <- list(theta = by_default$history[[1]]$theta, loglik = by_default$history[[1]]$c.loglik,
  std_error = sqrt(diag(by_default$var))[1:2], std_error_at_the_best = sqrt(diag(sparse$var))[1:2])

# Seven programmes, three of the four during it stopped, none before: no finite estimate is best.
seven <- data.frame(years = c(1, 2, 3, 4, 5, 6, 7), stopped = c(1, 1, 0, 1, 0, 0, 0), during = c(1, 1, 1, 1, 0, 0, 0))
plain <- quietly(coxph(Surv(years, stopped) ~ during, seven))
said <- warned
table <- summary(plain)$coefficients
subhazard <- crr(seven$years, seven$stopped, matrix(seven$during))
monotone <- list(frame = as.list(seven), hazard_ratio = table[, "exp(coef)"], p_value = table[, "Pr(>|z|)"], warning = said,
  crr = list(estimate = unname(subhazard$coef), std_error = sqrt(subhazard$var[1, 1]), converged = subhazard$converged))

# One row of group 0 is left when eight of group 1 have the cause at once.
end <- rep(c(1, 5, 3, 4, 6), c(19, 1, 8, 12, 1))
cause <- rep(c(1, 2, 1, 1, 2, 0, 1), c(10, 9, 1, 8, 6, 6, 1))
group <- rep(0:1, c(20, 21))
gray <- list(frame = list(end = end, cause = cause, group = group), statistic = unname(cuminc(end, cause, group)$Tests[, "stat"]))

# Where nobody has had the event yet, log-log, logit and arcsine intervals are missing.
early <- survfit(Surv(c(1, 2, 3, 4), c(0, 1, 1, 0)) ~ 1, conf.type = "log-log")

out <- if (length(args) > 0) args[1] else file.path(here, "elsewhere.json")
software <- list(R = R.version$version.string, survival = as.character(packageVersion("survival")), cmprsk = as.character(packageVersion("cmprsk")))
rules <- list(fixed = list(kind = "relative", tolerance = 1e-6, reason = "what is printed there; only that it is not the truth matters"))
write(toJSON(list(software = software, rules = rules, cases = list(frailty = frailty, monotone = monotone, gray = gray,
  curve = list(survival = early$surv, low = early$lower, high = early$upper))), auto_unbox = TRUE, digits = NA, na = "null",
  null = "null", pretty = TRUE), out)
