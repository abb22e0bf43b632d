# Which R and which packages compute the references: Rscript tests/reference/session.R [FOLDER]
suppressPackageStartupMessages({
  for (p in c("lme4", "lmerTest", "pbkrtest", "emmeans", "nlme", "numDeriv", "minqa", "jsonlite", "survival", "cmprsk", "sandwich", "carData"))
    library(p, character.only = TRUE)
})
here <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))))
args <- commandArgs(TRUE)
writeLines(capture.output(sessionInfo()), file.path(if (length(args) > 0) args[1] else here, "session.txt"))
