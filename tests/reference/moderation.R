# Reference values of scores on which change depends, centred and crossed with time: Rscript tests/reference/moderation.R [OUT.json]
args <- commandArgs(TRUE)
source(file.path(dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)))), "common.R"))

over_patients <- function(score) paste0(score, " - mean(", score, "[!duplicated(patient)])")
centred <- list(a = over_patients("adherence"), d = over_patients("drive"),
  day = over_patients("as.numeric(kind == 'day')"), home = over_patients("as.numeric(kind == 'home')"))
# `points` are the products with time that make up what a point of a score changes up to month 24.
case <- function(name, formula, points, random = "slope", cohort = TRUE, method = "reml", ...) {
  call <- list(outcome = "bsi", time = "month", patient = "patient", random = random, method = method, ...)
  if (cohort) call <- c(call, list(cohort = "era", reference = "before"))
  list(name = name, data = "moderation", formula = paste("bsi ~", formula), method = method, points = points,
    compute = centred, call = call)
}
cases <- list(
  case("sites", "month * era + a + a:month + (1 + month | patient) + (1 | site) + (0 + month | site) + (0 + month | site:era)",
    list(adherence = c("month:a" = 24)), shape = "linear", groups = "site", moderators = "adherence"),
  case("one course", "month + a + month:a + (1 + month | patient) + (1 | site) + (0 + month | site)",
    list(adherence = c("month:a" = 24)), cohort = FALSE, shape = "linear", groups = "site", moderators = "adherence"),
  case("of patients", "month * era + d + month:d + (1 + month | patient)",
    list(drive = c("month:d" = 24)), shape = "linear", moderators = "drive", method = "ml"),
  case("bent", "(month + I(month^2)) * era + drive + a + (month + I(month^2)):a + (1 | patient) + (0 + month | patient)",
    list(adherence = c("month:a" = 24, "I(month^2):a" = 576)), random = "uncorrelated", shape = "quadratic",
    adjust = "drive", moderators = "adherence"),
  case("by visit", "factor(month) * era + day + home + d + factor(month):day + factor(month):home + factor(month):d + (1 | patient)",
    list(`kind[day]` = c("factor(month)24:day" = 1), `kind[home]` = c("factor(month)24:home" = 1), drive = c("factor(month)24:d" = 1)),
    random = "intercept", shape = "visits", moderators = c("kind", "drive")))

# What a point of each score changes up to month 24.
moderation <- function(m, points, ways) {
  L <- t(vapply(points, function(w) {
    row <- setNames(numeric(length(fixef(m))), names(fixef(m)))
    stopifnot(all(names(w) %in% names(row)))
    replace(row, names(w), w)
  }, fixef(m)))
  lapply(ways, function(way) rows_of(cbind(moderator = names(points), contest1d_all(m, L, way))))
}

one <- function(case) {
  out <- answers(case)
  ways <- c(satterthwaite = "Satterthwaite", if (case$method == "reml") c(`kenward-roger` = "Kenward-Roger"))
  out$differences <- with_rule(moderation(fit(case), case$points, as.list(ways)), estimate = "fixed", std_error = "std_error", df = "df")
  out[c("random_effects", "shares", "fitted", "vcov", "points")] <- NULL
  out
}
results <- lapply(cases, one)
out <- if (length(args) > 0) args[1] else file.path(here, "moderation.json")
versions <- lapply(setNames(nm = c("lme4", "lmerTest", "pbkrtest")), function(p) as.character(packageVersion(p)))
write(toJSON(list(software = c(R = R.version$version.string, versions), rules = rules, cases = results), auto_unbox = TRUE, digits = NA, na = "null", null = "null", pretty = TRUE), out)
