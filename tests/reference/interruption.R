# Reference values of interruptions in treatment, their columns written out: Rscript tests/reference/interruption.R [OUT.json]
args <- commandArgs(TRUE)
source(file.path(dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)))), "common.R"))

met <- "!is.na(change) & month >= change"
since <- "ifelse(is.na(change), 0, pmax(month - pmax(change, 0), 0))"
# With cohorts, whoever was treated wholly after the change has neither level nor slope: the cohort has them.
columns <- function(cohort) list(
  level = paste0("as.numeric(", met, if (cohort) " & change > 0", ")"),
  slope = paste0(since, if (cohort) " * as.numeric(is.na(change) | change > 0)"))
case <- function(name, formula, random = "slope", cohort = FALSE, method = "reml", ...) {
  bars <- c(slope = "(1 + month | patient)", intercept = "(1 | patient)", uncorrelated = "(1 | patient) + (0 + month | patient)")
  call <- list(outcome = "bsi", time = "month", patient = "patient", interruption = "change", random = random, method = method, ...)
  if (cohort) call <- c(call, list(cohort = "era", reference = "before"))
  list(name = name, data = "interruption", formula = paste("bsi ~", formula, "+ level + slope +", bars[[random]]), method = method,
    compute = columns(cohort), call = call)
}
cases <- list(
  case("one course", "month", shape = "linear"),
  case("one course ml", "month", method = "ml", shape = "linear"),
  case("one course bent", "month + I(month^2) + age", random = "uncorrelated", shape = "quadratic", adjust = "age"),
  case("cohorts", "month * era", cohort = TRUE, shape = "linear"),
  case("cohorts by visit", "factor(month) * era", random = "intercept", cohort = TRUE, shape = "visits"))

# What the change makes of the mean some time after it.
differences <- function(m, ways) {
  L <- matrix(0, 3, length(fixef(m)), dimnames = list(NULL, names(fixef(m))))
  months <- c(0, 6, 15)
  L[, "level"] <- 1
  L[, "slope"] <- months
  lapply(ways, function(way) rows_of(cbind(since = months, contest1d_all(m, L, way))))
}

one <- function(case) {
  out <- answers(case)
  ways <- c(satterthwaite = "Satterthwaite", if (case$method == "reml") c(`kenward-roger` = "Kenward-Roger"))
  out$differences <- with_rule(differences(fit(case), as.list(ways)), estimate = "fixed", std_error = "std_error", df = "df")
  out[c("random_effects", "shares", "fitted", "vcov")] <- NULL
  out
}
results <- lapply(cases, one)
out <- if (length(args) > 0) args[1] else file.path(here, "interruption.json")
versions <- lapply(setNames(nm = c("lme4", "lmerTest", "pbkrtest")), function(p) as.character(packageVersion(p)))
write(toJSON(list(software = c(R = R.version$version.string, versions), rules = rules, cases = results), auto_unbox = TRUE, digits = NA, na = "null", null = "null", pretty = TRUE), out)
