# Reference values of mixed and growth models: Rscript tests/reference/growth.R [OUT.json [SESSION.txt]]
args <- commandArgs(TRUE)
source(file.path(dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)))), "common.R"))
case <- function(name, data, formula, method = "reml", ...) list(name = name, data = data, formula = formula, method = method, ...)

waves_call <- list(outcome = "bsi", time = "month", patient = "patient", cohort = "cohort", reference = "before", baseline = 0, better = "lower")
waves <- function(..., at = c(0, 12, 24), visit = NULL, trends = FALSE, formula = NULL) list(formula = formula, call = c(waves_call, list(...)), time = "month", cohort = "cohort",
  cohorts = c("before", "during"), reference = "before", baseline = 0, at = at, visit = visit, trends = trends)
sipp_call <- list(outcome = "sipp", time = "year", patient = "patient", cohort = "cohort", reference = "before", baseline = 0, better = "higher")

cases <- list(
  case("sleepstudy slope", "sleepstudy", "Reaction ~ Days + (1 + Days | Subject)", known = 1743.62827196, joint = list(c("(Intercept)", "Days"))),
  case("sleepstudy slope ml", "sleepstudy", "Reaction ~ Days + (1 + Days | Subject)", "ml"),
  case("sleepstudy uncorrelated", "sleepstudy", "Reaction ~ Days + (1 + Days || Subject)", known = 1743.66929358),
  case("sleepstudy intercept", "sleepstudy", "Reaction ~ Days + (1 | Subject)", known = 1786.46508539),
  case("sleepstudy intercept ml", "sleepstudy", "Reaction ~ Days + (1 | Subject)", "ml"),
  case("sleepstudy unbalanced", "sleepstudy", "Reaction ~ Days + (1 + Days | Subject)", known = 1494.76663253, drop = c(4, 180, 7), joint = list(c("(Intercept)", "Days"))),
  case("sleepstudy unbalanced ml", "sleepstudy", "Reaction ~ Days + (1 + Days | Subject)", "ml", drop = c(4, 180, 7)),
  case("dyestuff", "dyestuff", "Yield ~ 1 + (1 | Batch)", known = 319.65427684),
  case("dyestuff2 boundary", "dyestuff2", "Yield ~ 1 + (1 | Batch)", known = 161.82827781),
  case("penicillin crossed", "penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)", known = 330.860589),
  case("pastes nested", "pastes", "strength ~ 1 + (1 | batch/cask)", known = 246.99074585),
  case("orthodont slope", "orthodont", "distance ~ age * Sex + (1 + age | Subject)", known = 432.5816615, levels = list(Sex = c("Male", "Female")), joint = list(c("SexFemale", "age:SexFemale"))),
  case("oxboys quadratic", "oxboys", "height ~ age + I(age ** 2) + (1 + age + I(age ** 2) | Subject)", known = 634.618855, joint = list(c("age", "I(age^2)"))),
  case("waves slope", "waves", "bsi ~ month * cohort + age + sex + (1 + month | patient)", joint = list(c("cohortduring", "month:cohortduring")),
    cohorts = waves(shape = "linear", adjust = "age + sex", random = "slope", trends = TRUE)),
  case("waves slope ml", "waves", "bsi ~ month * cohort + age + sex + (1 + month | patient)", "ml",
    cohorts = waves(shape = "linear", adjust = "age + sex", random = "slope", method = "ml", trends = TRUE)),
  case("waves uncorrelated", "waves", "bsi ~ month * cohort + age + sex + (1 + month || patient)",
    cohorts = waves(shape = "linear", adjust = "age + sex", random = "uncorrelated")),
  case("waves intercept", "waves", "bsi ~ month * cohort + (1 | patient)", cohorts = waves(shape = "linear", random = "intercept")),
  case("waves quadratic", "waves", "bsi ~ (month + I(month ** 2)) * cohort + (1 + month | patient)",
    joint = list(c("month:cohortduring", "I(month^2):cohortduring")), cohorts = waves(shape = "quadratic", random = "slope", at = c(0, 12, 18, 24))),
  case("waves quadratic q3", "waves", "bsi ~ (month + month_squared) * cohort + (1 + month + month_squared | patient)",
    compute = list(month_squared = "month * month / 100")),
  case("waves log", "waves", "bsi ~ log_month * cohort + (1 + log_month | patient)", compute = list(log_month = "log(1 + month / 6)"),
    cohorts = waves(shape = "log", random = "slope", formula = "bsi ~ log(1 + month / 6) * cohort + (1 + log(1 + month / 6) | patient)")),
  case("waves visits", "waves", "bsi ~ visit * cohort + age + sex + (1 + month | patient)",
    joint = list(c("visitm06:cohortduring", "visitm12:cohortduring", "visitm18:cohortduring", "visitm24:cohortduring")),
    cohorts = waves(shape = "visits", adjust = "age + sex", random = "slope", visit = "visit", at = c(0, 6, 12, 18, 24))),
  case("waves piecewise", "waves", "bsi ~ (month + month_late) * cohort + (1 + month | patient)", compute = list(month_late = "(month > 12) * (month - 12)"),
    joint = list(c("month:cohortduring", "month_late:cohortduring")),
    cohorts = waves(shape = list(piecewise = 12), random = "slope", at = c(0, 12, 18, 24),
      formula = "bsi ~ (month + pmax(month - 12, 0)) * cohort + (1 + month | patient)")),
  case("waves site beside slope", "waves", "bsi ~ month * cohort + age + sex + (1 + month | patient) + (1 | site)"),
  case("waves site change", "waves", "bsi ~ month * cohort + (1 + month | patient) + (1 | site) + (0 + month | site) + (0 + month | site:cohort)", cohorts = waves(shape = "linear", random = "slope", groups = "site", trends = TRUE)),
  case("waves therapist change", "waves", "bsi ~ month * cohort + (1 + month | patient) + (1 | therapist) + (0 + month | therapist) + (0 + month | therapist:cohort)",
    cohorts = waves(shape = "linear", random = "slope", groups = "therapist")),
  case("waves patient in site", "waves", "bsi ~ month * cohort + (1 | site/patient)"),
  case("waves therapist beside slope", "waves", "bsi ~ month * cohort + (1 + month | patient) + (1 | therapist)", joint = list(c("cohortduring", "month:cohortduring"))),
  case("waves three factors", "waves", "bsi ~ month * cohort + (1 + month | patient) + (1 | site) + (1 | therapist)"),
  case("waves three factors ml", "waves", "bsi ~ month * cohort + (1 + month | patient) + (1 | site) + (1 | therapist)", "ml"),
  case("irregular slope", "irregular", "sipp ~ year * cohort + (1 + year | patient)", levels = list(cohort = c("before", "after", "during")),
    joint = list(c("cohortafter", "cohortduring"), c("year:cohortafter", "year:cohortduring")),
    cohorts = list(call = c(sipp_call, list(shape = "linear", random = "slope")), time = "year", cohort = "cohort", cohorts = c("before", "after", "during"),
      reference = "before", baseline = 0, at = c(0, 1.5, 3), visit = NULL, trends = TRUE)),
  case("irregular slope ml", "irregular", "sipp ~ year * cohort + (1 + year | patient)", "ml", levels = list(cohort = c("before", "after", "during"))),
  case("irregular flat boundary", "irregular", "flat ~ year * cohort + (1 + year | patient)", levels = list(cohort = c("before", "after", "during"))),
  case("irregular flat uncorrelated", "irregular", "flat ~ year * cohort + (1 + year || patient)", levels = list(cohort = c("before", "after", "during")))
)

# A change of the time unit or origin changes REML's -2l by 2 log|scale| only, and the rest by an exact linear map. Fitted
# directly, lme4 1.1-31 stops short (1786.43 for Days + 2020, 1812.23 for Days * 1e6), so these two are mapped from Days.
remapped <- function(name, base, compute, origin, scale) {
  m <- fit(base)
  T <- matrix(c(1, 0, -origin / scale, 1 / scale), 2)
  V <- T %*% as.matrix(vcov(m)) %*% t(T)
  G <- T %*% as.matrix(VarCorr(m)$Subject)[1:2, 1:2] %*% t(T)
  sat <- contest1d_all(m, T, "Satterthwaite"); kr <- contest1d_all(m, T, "Kenward-Roger")
  terms <- c("(Intercept)", "Days_coded")
  s <- sqrt(diag(G))
  list(name = name, data = "sleepstudy", formula = "Reaction ~ Days_coded + (1 + Days_coded | Subject)", method = "reml", compute = compute,
    remapped = "fitted in Days, mapped exactly; lme4 itself stops short in this unit",
    criterion = with_rule(list(value = REMLcrit(m) + 2 * log(scale), optimum = TRUE, gradient = optimum$gradient), value = "criterion"),
    fixed = with_rule(list(satterthwaite = rows_of(cbind(term = terms, sat)), `kenward-roger` = rows_of(cbind(term = terms, kr))),
      estimate = "fixed", std_error = "std_error", df = "df"),
    vcov = with_rule(list(value = V), value = "vcov"),
    variances = with_rule(list(rows = list(
      list(group = "Subject", effect = "(Intercept)", other = NA, sd = s[1], correlation = NA),
      list(group = "Subject", effect = "Days_coded", other = NA, sd = s[2], correlation = NA),
      list(group = "Subject", effect = "(Intercept)", other = "Days_coded", sd = NA, correlation = G[1, 2] / s[1] / s[2]),
      list(group = "Residual", effect = NA, other = NA, sd = sigma(m), correlation = NA)), sigma = sigma(m)), sd = "sd", correlation = "correlation"))
}
days <- cases[[1]]
results <- c(lapply(cases, answers), list(
  remapped("sleepstudy calendar years", days, list(Days_coded = "Days + 2020"), 2020, 1),
  remapped("sleepstudy microseconds", days, list(Days_coded = "Days * 1e6"), 0, 1e6),
  remapped("sleepstudy millionths", days, list(Days_coded = "Days / 1e6"), 0, 1e-6)))

versions <- lapply(setNames(nm = c("lme4", "lmerTest", "pbkrtest", "emmeans", "nlme", "numDeriv", "minqa", "jsonlite")), function(p) as.character(packageVersion(p)))
out <- if (length(args) > 0) args[1] else file.path(here, "growth.json")
write(toJSON(list(software = c(R = R.version$version.string, versions), rules = rules, cases = results), auto_unbox = TRUE, digits = NA, na = "null", null = "null", pretty = TRUE), out)
