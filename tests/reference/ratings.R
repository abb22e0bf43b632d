# Intraclass correlations and kappa by psych, alpha and AC1 written out over pairs: Rscript tests/reference/ratings.R [OUT]
suppressPackageStartupMessages({ library(psych); library(jsonlite) })
here <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE))))
args <- commandArgs(TRUE)
options(digits = 17)
near <- function(a, b, within, what) if (max(abs(a - b)) > within) stop(what, ": ", a, " is not ", b)

# Tables: a row an item, a column a rater -----------------------------------------------------------------------------
shrout_fleiss <- cbind(c(9, 6, 8, 7, 10, 6), c(2, 1, 4, 1, 5, 2), c(5, 3, 6, 2, 6, 4), c(8, 2, 8, 6, 9, 7))
# Krippendorff (2011): twelve units, four observers; Gwet (2014) takes the same table for AC1.
krippendorff <- cbind(c(1, 2, 3, 3, 2, 1, 4, 1, 2, NA, NA, NA), c(1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NA, 3),
  c(NA, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NA), c(1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NA))
# Simulated: many raters; raters who agree less than chance; two raters on a scale of which one value is never used.
set.seed(1996)
many <- round(outer(rnorm(30, 4, 1), rep(1, 7)) + outer(rep(1, 30), rnorm(7, 0, 0.7)) + rnorm(210, 0, 0.8), 1)
against <- cbind(c(1, 5, 2, 4, 3), c(5, 1, 4, 2, 3), c(3, 3, 4, 2, 1))
pair <- cbind(pmin(7, pmax(1, round(rnorm(40, 4, 2)))), 0)
pair[, 2] <- pmin(7, pmax(1, pair[, 1] + sample(-2:2, 40, TRUE, c(1, 3, 6, 3, 1))))
pair[pair == 3] <- 5
gaps <- many
gaps <- pmin(pmax(round(gaps), 1), 5)
gaps[sample(length(gaps), 60)] <- NA
two_raters <- cbind(c(1, 1, 2, 3, 3, 4, 2, 4, 1, 3), c(1, 2, 2, 3, 2, 4, 2, 3, 1, 3))
tables <- list(shrout_fleiss = shrout_fleiss, krippendorff = krippendorff, many = many, against = against, pair = pair,
  gaps = gaps, two_raters = two_raters)
long_of <- function(x) {
  cells <- which(!is.na(x), arr.ind = TRUE)
  data.frame(item = cells[, 1], rater = cells[, 2], score = x[cells])
}

# Intraclass correlations: psych's, from mean squares ------------------------------------------------------------------
FORMS <- c(Single_raters_absolute = "1", Single_random_raters = "A,1", Single_fixed_raters = "C,1",
  Average_raters_absolute = "k", Average_random_raters = "A,k", Average_fixed_raters = "C,k")
icc_of <- function(case) {
  x <- tables[[case$data]]
  found <- ICC(x, missing = FALSE, alpha = 1 - case$level, lmer = FALSE)$results
  stopifnot(rownames(found) == names(FORMS))
  answers <- lapply(seq_along(FORMS), function(i) list(form = FORMS[[i]], estimate = found$ICC[i], statistic = found$F[i],
    df_num = found$df1[i], df = found$df2[i], p_value = found$p[i], conf_low = found[["lower bound"]][i],
    conf_high = found[["upper bound"]][i]))
  if (case$data == "shrout_fleiss") near(found$ICC, c(0.17, 0.29, 0.71, 0.44, 0.62, 0.91), 0.005, "Shrout & Fleiss 1979")
  c(case, list(frame = long_of(x), answers = answers))
}

# Items with raters of their own, in different numbers: aov's mean squares and Searle's k0 ------------------------------
one_way <- function(case) {
  long <- long_of(tables[[case$data]])
  squares <- summary(aov(score ~ factor(item), long))[[1]][["Mean Sq"]]
  k <- table(long$item)
  k0 <- (sum(k) - sum(k^2) / sum(k)) / (length(k) - 1)
  c(case, list(frame = long, answers = list(list(form = "1", estimate = (squares[1] - squares[2]) / (squares[1] + (k0 - 1) * squares[2])),
    list(form = "k", estimate = 1 - squares[2] / squares[1]))))
}

# Cohen's kappa: psych's; the variance by the delta method over the shares of the table, differentiated numerically --------
# psych 2.2.9 has that variance without weights only: with them it weighs each rater's categories by the other's shares.
kappa_of <- function(case) {
  x <- tables[[case$data]]
  levels <- sort(unique(c(x)))
  apart <- abs(outer(levels, levels, "-")) / diff(range(levels))
  weighted <- case$weights != "none"
  w <- if (weighted) 1 - apart^(if (case$weights == "linear") 1 else 2) else diag(length(levels))
  counted <- matrix(table(factor(x[, 1], levels), factor(x[, 2], levels)), length(levels))
  found <- suppressWarnings(cohen.kappa(counted, w = w))
  share <- counted / sum(counted)
  value <- function(p) {
    p <- p / sum(p)
    chance <- sum(w * outer(rowSums(p), colSums(p)))
    (sum(w * p) - chance) / (1 - chance)
  }
  rate <- share
  for (i in seq_along(share)) {
    at <- function(h) value(replace(share, i, share[i] + h))
    h <- 1e-3
    rate[i] <- (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
  }
  error <- sqrt((sum(share * rate^2) - sum(share * rate)^2) / sum(counted))
  near(value(share), if (weighted) found$weighted.kappa else found$kappa, 1e-12, case$name)
  if (!weighted) near(error, sqrt(found$var.kappa), 1e-9, case$name)
  c(case, list(frame = long_of(x), answer = list(estimate = value(share), std_error = error,
    psych_std_error = sqrt(if (weighted) found$var.weighted else found$var.kappa))))
}

# Alpha, over every pair of ratings, one after the other ------------------------------------------------------------------
distance <- function(metric, used) switch(metric,
  nominal = function(a, b) as.numeric(a != b),
  interval = function(a, b) (a - b)^2,
  ordinal = function(a, b) {
    worth <- as.numeric(names(used))
    between <- used[worth >= min(a, b) & worth <= max(a, b)]
    (sum(between) - (used[[as.character(a)]] + used[[as.character(b)]]) / 2)^2
  })
alpha_of <- function(case) {
  x <- tables[[case$data]]
  x <- x[rowSums(!is.na(x)) > 1, , drop = FALSE]
  every <- x[!is.na(x)]
  far <- distance(case$metric, table(every))
  within <- 0
  for (i in seq_len(nrow(x))) {
    own <- x[i, !is.na(x[i, ])]
    for (a in seq_along(own)) for (b in seq_along(own)) if (a != b) within <- within + far(own[a], own[b]) / (length(own) - 1)
  }
  over <- 0
  for (a in seq_along(every)) for (b in seq_along(every)) if (a != b) over <- over + far(every[a], every[b])
  observed <- within / length(every)
  expected <- over / (length(every) * (length(every) - 1))
  alpha <- 1 - observed / expected
  published <- c(nominal = 0.743, ordinal = 0.815, interval = 0.849)
  if (case$data == "krippendorff") near(alpha, published[[case$metric]], 0.0005, "Krippendorff 2011")
  c(case, list(frame = long_of(tables[[case$data]]), answer = list(estimate = alpha, disagreement = observed,
    disagreement_expected = expected)))
}

# AC1 and Fleiss' kappa, with the standard error of an infinitesimal jackknife over items -----------------------------------
# A weight of an item moves the coefficient at a rate that a numerical derivative gives; the variance is that of a mean of
# n such rates.
counts_of <- function(x, levels) t(apply(x, 1, function(row) table(factor(row[!is.na(row)], levels))))
coefficient <- function(counts, w, kind) {
  m <- rowSums(counts)
  pairs <- m > 1
  agree <- sum((w * rowSums(counts * (counts - 1)) / (m * (m - 1)))[pairs]) / sum(w[pairs])
  used <- colSums(w * counts / m) / sum(w)
  chance <- if (kind == "fleiss") sum(used^2) else sum(used * (1 - used)) / (length(used) - 1)
  (agree - chance) / (1 - chance)
}
corrected_of <- function(case) {
  x <- tables[[case$data]]
  levels <- if (is.null(case$categories)) sort(unique(x[!is.na(x)])) else case$categories
  counts <- counts_of(x, levels)
  n <- nrow(counts)
  rate <- sapply(seq_len(n), function(i) {
    at <- function(h) coefficient(counts, replace(rep(1, n), i, 1 + h), case$kind)
    h <- 1e-3
    (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
  })
  value <- coefficient(counts, rep(1, n), case$kind)
  error <- sqrt(sum((n * rate)^2) / (n * (n - 1)))
  # Gwet takes the number of items with two ratings as fixed, which an item with one rating is not: no error here then.
  if (any(rowSums(counts) < 2)) error <- NA
  if (case$data == "krippendorff" && is.null(case$categories)) near(value, 0.77544, 5e-6, "Gwet 2014")
  c(case, list(frame = long_of(x), answer = list(estimate = value, std_error = error)))
}

case <- function(name, data, ...) list(name = name, data = data, ...)
rules <- list(
  fixed = list(kind = "relative", tolerance = 1e-9, reason = "closed formulas on both sides: they differ by rounding only"),
  df = list(kind = "absolute", tolerance = 0, reason = "a count"),
  quantile = list(kind = "absolute", tolerance = 1e-8, reason = "two programs' quantiles of F, at fractional df"),
  rate = list(kind = "relative", tolerance = 1e-7, reason = "the reference differentiates numerically"))
out <- if (length(args) > 0) args[1] else file.path(here, "ratings.json")
software <- list(R = R.version$version.string, psych = as.character(packageVersion("psych")))
answers <- list(
  icc = lapply(list(case("Shrout and Fleiss", "shrout_fleiss", level = 0.95), case("Shrout and Fleiss, 80 %", "shrout_fleiss", level = 0.8),
    case("thirty items, seven raters", "many", level = 0.95), case("below chance", "against", level = 0.95)), icc_of),
  one_way = lapply(list(case("five to seven ratings an item", "gaps"), case("Krippendorff's units", "krippendorff")), one_way),
  kappa = lapply(list(case("ten cases", "two_raters", weights = "none"), case("ten cases, linear", "two_raters", weights = "linear"),
    case("ten cases, quadratic", "two_raters", weights = "quadratic"), case("a value never used", "pair", weights = "none"),
    case("a value never used, linear", "pair", weights = "linear"), case("a value never used, quadratic", "pair", weights = "quadratic")), kappa_of),
  alpha = lapply(unlist(lapply(c("krippendorff", "gaps", "shrout_fleiss"), function(data) lapply(c("nominal", "ordinal", "interval"),
    function(metric) case(paste(data, metric), data, metric = metric))), recursive = FALSE), alpha_of),
  corrected = lapply(list(case("Gwet's table", "krippendorff", kind = "ac1"), case("thirty items with gaps", "gaps", kind = "ac1"),
    case("two raters", "two_raters", kind = "ac1"),
    case("Gwet's table, six categories", "krippendorff", kind = "ac1", categories = 1:6),
    case("Shrout and Fleiss as categories", "shrout_fleiss", kind = "fleiss"), case("against", "against", kind = "fleiss")), corrected_of))
write(toJSON(list(software = software, rules = rules, cases = answers), auto_unbox = TRUE, digits = NA, na = "null", null = "null",
  pretty = FALSE), out)
