# What timed R tasks share: the command line (TASK FOLDER REPETITIONS), columns of raw numbers, time, memory and a report.
suppressPackageStartupMessages(library(jsonlite))
args <- commandArgs(TRUE)
folder <- args[2]
repetitions <- if (length(args) > 2) as.integer(args[3]) else 1L
column <- function(name, what, size) {
  path <- file.path(folder, paste0(name, ".bin"))
  readBin(path, what, file.size(path) / size, size = size)
}
peak <- function() as.numeric(sub("\\D+(\\d+) kB", "\\1", grep("^VmHWM", readLines("/proc/self/status"), value = TRUE))) / 1024
timed <- function(call) {
  seconds <- numeric(repetitions)
  for (k in seq_len(repetitions)) seconds[k] <- system.time(m <- call())[["elapsed"]]
  list(seconds = I(seconds), model = m)
}
report <- function(...) cat(toJSON(list(..., peak_megabytes = peak()), auto_unbox = TRUE, digits = NA), "\n")
