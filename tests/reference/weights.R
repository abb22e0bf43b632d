# Reference values of weighted patients, coxph's and sandwich's: Rscript tests/reference/weights.R [OUT.json]
suppressPackageStartupMessages({
  library(survival)
  library(sandwich)
  library(jsonlite)
})
args <- commandArgs(TRUE)
options(digits = 17, contrasts = c("contr.treatment", "contr.poly"))
here <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))))
table_of <- function(name) {
  frame <- read.csv(file.path(here, "data", paste0(name, ".csv")))
  # A weight for each person, of no meaning, which the tests make in the same way.
  who <- if (is.null(frame$id)) if (is.null(frame$Subject)) seq_len(nrow(frame)) else match(frame$Subject, unique(frame$Subject)) else frame$id
  frame$w <- 0.4 + (who * 7) %% 11 / 5
  frame
}
terms_of <- function(names, estimate, variance) lapply(seq_along(names), function(i) list(term = names[i], estimate = unname(estimate[i]), std_error = sqrt(variance[i, i])))

# Cox: a robust variance over rows, over persons with several rows, and over larger clusters.
tight <- coxph.control(eps = 1e-13, toler.chol = 1e-14, iter.max = 50)
cox_cases <- list(
  list(name = "rows", data = "rossi", response = "Surv(week, arrest)", terms = c("fin", "age", "prio"), ties = "efron",
    call = list(duration = "week", event = "arrest")),
  list(name = "rows breslow", data = "rossi", response = "Surv(week, arrest)", terms = c("fin", "age", "prio"), ties = "breslow",
    call = list(duration = "week", event = "arrest")),
  list(name = "persons", data = "heart", response = "Surv(start, stop, event)", terms = c("age", "year", "transplant"), ties = "efron", over = "id",
    call = list(duration = "stop", event = "event", entry = "start", id = "id")),
  list(name = "clusters", data = "rossi", response = "Surv(week, arrest)", terms = c("fin", "wexp", "prio"), ties = "efron", over = "age",
    call = list(duration = "week", event = "arrest", cluster = "age")))
hazards <- lapply(cox_cases, function(case) {
  d <- table_of(case$data)
  d$over <- if (is.null(case$over)) seq_len(nrow(d)) else d[[case$over]]
  f <- as.formula(paste(case$response, "~", paste(case$terms, collapse = " + ")))
  m <- coxph(f, data = d, weights = w, cluster = over, ties = case$ties, control = tight)
  c(case[c("name", "data", "terms", "ties", "call")], list(n = m$n, fixed = list(rows = terms_of(case$terms, coef(m), m$var), rules = list(estimate = "fixed", std_error = "std_error"))))
})

# Balanced and complete: least squares are generalised least squares whatever the covariance, and so is their sandwich.
orthodont <- table_of("orthodont")
orthodont$Sex <- factor(orthodont$Sex, levels = c("Male", "Female"))
least_squares <- function(name, formula) {
  m <- lm(as.formula(formula), data = orthodont, weights = w)
  V <- vcovCL(m, cluster = orthodont$Subject, type = "HC0", cadjust = FALSE)
  list(name = name, formula = formula, fixed = list(rows = terms_of(names(coef(m)), coef(m), V), rules = list(estimate = "fixed", std_error = "std_error")))
}
growth <- list(least_squares("growth", "distance ~ age * Sex"), least_squares("mmrm", "distance ~ factor(age) * Sex"))

rules <- list(
  fixed = list(kind = "relative to the larger of value and standard error", tolerance = 1e-8, reason = "Newton to the end on both sides; least squares"),
  std_error = list(kind = "relative", tolerance = 1e-7, reason = "sums of products at that optimum"))
out <- if (length(args) > 0) args[1] else file.path(here, "weights.json")
versions <- lapply(setNames(nm = c("survival", "sandwich")), function(p) as.character(packageVersion(p)))
write(toJSON(list(software = c(R = R.version$version.string, versions), rules = rules, cases = growth, hazards = hazards), auto_unbox = TRUE, digits = NA, null = "null", pretty = TRUE), out)
