# Write the published tables from the packages that carry them: Rscript tests/reference/data.R [FOLDER]
suppressPackageStartupMessages({ library(lme4); library(nlme) })
here <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))))
args <- commandArgs(TRUE)
folder <- if (length(args) > 0) args[1] else file.path(here, "data")
put <- function(frame, name) {
  frame <- as.data.frame(frame)
  for (k in names(frame)) if (is.factor(frame[[k]])) frame[[k]] <- as.character(frame[[k]])
  write.csv(frame, file.path(folder, paste0(name, ".csv")), row.names = FALSE, quote = FALSE)
}
options(digits = 17)
put(lme4::sleepstudy[c("Reaction", "Days", "Subject")], "sleepstudy")
put(lme4::Dyestuff, "dyestuff")
put(lme4::Dyestuff2, "dyestuff2")
put(lme4::Penicillin, "penicillin")
put(lme4::Pastes[c("strength", "batch", "cask")], "pastes")
put(nlme::Orthodont[c("distance", "age", "Subject", "Sex")], "orthodont")
put(nlme::Oxboys[c("Subject", "age", "height")], "oxboys")
