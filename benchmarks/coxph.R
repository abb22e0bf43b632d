# survival's side, one process a task: Rscript coxph.R plain|entry|cluster|frailty FOLDER REPETITIONS; prints JSON.
source(file.path(dirname(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))), "common.R"))
suppressPackageStartupMessages(library(survival))

covariates <- paste0("x", 0:9)
numbers <- lapply(setNames(nm = c(covariates, "time", "entry")), column, "double", 8)
spells <- data.frame(numbers, event = column("event", "integer", 4), group = column("group", "integer", 4))
response <- if (args[1] == "entry") "Surv(entry, time, event)" else "Surv(time, event)"
model <- function(...) as.formula(paste(response, "~", paste(c(covariates, ...), collapse = " + ")))
fitted <- function(d) {
  fit <- switch(args[1], cluster = coxph(model(), d, cluster = group), frailty = coxph(model("frailty(group)"), d),
    coxph(model(), d))
  list(fit = fit, summary = summary(fit))
}

# Once on few rows: R compiles what it calls.
invisible(fitted(spells[1:500, ]))
t <- timed(function() fitted(spells))
fit <- t$model$fit
s <- t$model$summary
if (args[1] == "frailty") {
  # By default it stops early; what it says when it goes on is compared, and not timed.
  further <- coxph(model("frailty(group, eps = 1e-9)"), spells,
    control = coxph.control(eps = 1e-11, iter.max = 50, outer.max = 50))
  history <- further$history[[1]]
  report(seconds = t$seconds, loglik = history$c.loglik, theta = history$theta, estimates = I(unname(coef(further))),
    std_errors = I(unname(summary(further)$coefficients[covariates, "se(coef)"])),
    stopped_early = max(abs(coef(fit) - coef(further)) / s$coefficients[covariates, "se(coef)"]))
} else {
  error <- if (args[1] == "cluster") "robust se" else "se(coef)"
  tests <- c(s$logtest[["test"]], fit$wald.test, s$sctest[["test"]], if (args[1] == "cluster") s$robscore[["test"]])
  report(seconds = t$seconds, loglik = fit$loglik[2], estimates = I(unname(coef(fit))),
    std_errors = I(unname(s$coefficients[, error])), tests = I(unname(tests)),
    concordance = I(unname(s$concordance)))
}
