# R's side of a batch, one process a task: Rscript batch.R lmer|answers|versions FOLDER SITES; prints JSON.
# Rows are read and cut out before the clock starts; the loop goes over the outcomes of the first SITES sites.
source(file.path(dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))), "common.R"))
suppressPackageStartupMessages({library(lme4); library(lmerTest); library(emmeans)})
sites <- repetitions
repetitions <- 1L

quietly <- function(call) suppressMessages(suppressWarnings(call))
model <- function(outcome) as.formula(paste(outcome, "~ month * cohort + (1 + month | patient)"))

# What a cell of implstats has: d of each cohort, differences in level and in change, improvement retained; each with
# Kenward and Roger's degrees of freedom. The means are in the order before, during at 0, then at both later times.
answered <- function(m, x, times, sd, level = 0.95) {
  means <- emmeans(m, ~ cohort * month, at = list(month = c(0, times)), lmer.df = "kenward-roger", data = x)
  before <- list(c(1, 0, -1, 0, 0, 0), c(1, 0, 0, 0, -1, 0))
  during <- list(c(0, 1, 0, -1, 0, 0), c(0, 1, 0, 0, 0, -1))
  level_gap <- list(c(0, 0, -1, 1, 0, 0), c(0, 0, 0, 0, -1, 1))
  gap <- Map(`-`, during, before)
  effects <- contrast(means, c(Map(`/`, c(before, during, gap), sd), level_gap))
  table <- summary(effects, infer = TRUE, level = level)
  V <- sd^2 * vcov(effects)
  d <- sd * table$estimate
  theta <- d[3:4] / d[1:2]
  df <- summary(contrast(means, Map(function(a, b, ratio) a - ratio * b, during, before, theta)))$df
  t <- qt(0.5 + level / 2, df)
  square <- d[1:2]^2 - t^2 * diag(V)[1:2]
  linear <- d[1:2] * d[3:4] - t^2 * V[cbind(1:2, 3:4)]
  inside <- linear^2 - square * (d[3:4]^2 - t^2 * diag(V)[3:4])
  ends <- cbind((linear - sqrt(pmax(inside, 0))) / square, (linear + sqrt(pmax(inside, 0))) / square)
  list(table = table, retained = cbind(theta, ends), last = -sd * c(table$estimate[6], -table$SE[6]), df = table$df[6])
}

if (args[1] == "versions") {
  names <- c("lmerTest", "emmeans", "pbkrtest")
  do.call(report, lapply(setNames(nm = names), function(k) as.character(packageVersion(k))))
} else {
  d <- read.csv(file.path(folder, "visits.csv"), stringsAsFactors = TRUE)
  d$patient <- factor(d$patient)
  times <- sort(unique(d$month))[c(3, 5)]
  outcomes <- grep("^scale", names(d), value = TRUE)
  parts <- lapply(split(d, d$site)[1:sites], droplevels)
  cells <- unlist(lapply(parts, function(x) lapply(outcomes, function(k) list(x = x, outcome = k))), recursive = FALSE)
  at_start <- d[d$month == 0, ]
  sds <- sapply(outcomes, function(k) summary(lm(at_start[[k]] ~ at_start$cohort))$sigma)
  each <- switch(args[1],
    lmer = function(cell) quietly(fixef(lme4::lmer(model(cell$outcome), cell$x))),
    answers = function(cell) quietly(answered(lmerTest::lmer(model(cell$outcome), cell$x), cell$x, times, sds[[cell$outcome]])))
  # Once beforehand: R compiles what it calls.
  invisible(each(cells[[1]]))
  t <- timed(function() lapply(cells, each))
  found <- list(seconds = t$seconds, cells = length(cells))
  if (args[1] == "answers") {
    # In months lmer stops early; what it says in years is compared, and not timed.
    times <- times / 12
    further <- lapply(cells, function(cell) each(within(cell, x$month <- x$month / 12)))
    error <- sapply(further, function(k) k$last[2])
    found$estimates <- I(sapply(further, function(k) k$last[1]))
    found$std_errors <- I(error)
    found$df <- I(sapply(further, function(k) k$df))
    found$stopped_early <- max(abs(sapply(t$model, function(k) k$last[2]) / error - 1))
  }
  do.call(report, found)
}
