# Gaussian models whose covariance is written out whole, with its first and second derivatives: the criterion, its optimum,
# Satterthwaite and Kenward-Roger. Nothing here is shared with the library or with nlme: plain matrices of all rows.

# A covariance is a function of its parameters that returns V, the list D of dV/dphi_j, and DD, a list named "j,k" (j <= k) of
# those second derivatives that are not zero.
linear <- function(bases) function(phi) list(V = Reduce(`+`, Map(`*`, phi, bases)), D = bases, DD = list())
unit <- function(m, i, j) { E <- matrix(0, m, m); E[i, j] <- E[j, i] <- 1; E }
pairs_of <- function(m) which(lower.tri(diag(m), TRUE), arr.ind = TRUE)
lag_of <- function(m) abs(outer(seq_len(m), seq_len(m), "-"))
power <- function(rho, k) list(value = rho^k, d = k * rho^ifelse(k == 0, 0, k - 1), dd = k * (k - 1) * rho^ifelse(k * (k - 1) == 0, 0, k - 2))

# Homogeneous or heterogeneous AR(1) of `lag`: phi = (variances, rho); `which` says whose variance each row has.
autoregressive <- function(lag, which = rep(1, nrow(lag)), mask = 1) function(phi) {
  k <- length(phi) - 1
  s <- sqrt(phi[which])
  r <- power(phi[k + 1], lag)
  S <- outer(s, s) * mask
  own <- lapply(seq_len(k), function(j) outer(which == j, which == j, "+") / 2)
  D <- c(lapply(seq_len(k), function(j) S * r$value * own[[j]] / phi[j]), list(S * r$d))
  DD <- list()
  for (j in seq_len(k)) {
    for (l in j:k) DD[[paste0(j, ",", l)]] <- S * r$value * (own[[j]] * own[[l]] - if (j == l) own[[j]] else 0) / (phi[j] * phi[l])
    DD[[paste0(j, ",", k + 1)]] <- S * r$d * own[[j]] / phi[j]
  }
  DD[[paste0(k + 1, ",", k + 1)]] <- S * r$dd
  list(V = S * r$value, D = D, DD = DD)
}

# The covariance of m visits: its names of parameters, V(phi), and the way from unconstrained numbers to phi.
structures <- list(
  unstructured = function(m) {
    at <- pairs_of(m)
    list(V = linear(lapply(seq_len(nrow(at)), function(k) unit(m, at[k, 1], at[k, 2]))), size = nrow(at),
      phi = function(theta) log_cholesky(theta, m), start = function(s2) log_cholesky_of(s2 * (0.5 + 0.5 * diag(m))))
  },
  toeplitz = function(m) list(
    V = linear(lapply(0:(m - 1), function(k) (lag_of(m) == k) * 1)), size = m,
    phi = function(theta) exp(theta[1]) * c(1, from_partial(tanh(theta[-1]))), start = function(s2) c(log(s2), atanh(0.3), rep(0, m - 2))),
  `compound-symmetry` = function(m) list(
    V = linear(list(diag(m), 1 - diag(m))), size = 2,
    phi = function(theta) exp(theta[1]) * c(1, plogis(theta[2]) * m / (m - 1) - 1 / (m - 1)), start = function(s2) c(log(s2), 1)),
  ar1 = function(m) list(
    V = autoregressive(lag_of(m)), size = 2, phi = function(theta) c(exp(theta[1]), tanh(theta[2])), start = function(s2) c(log(s2), 0.4)),
  `heterogeneous-ar1` = function(m) list(
    V = autoregressive(lag_of(m), seq_len(m)), size = m + 1,
    phi = function(theta) c(exp(theta[1:m]), tanh(theta[m + 1])), start = function(s2) c(rep(log(s2), m), 0.4)))

log_cholesky <- function(theta, m) {
  L <- matrix(0, m, m)
  L[lower.tri(L, TRUE)] <- theta
  diag(L) <- exp(diag(L))
  V <- tcrossprod(L)
  V[lower.tri(V, TRUE)]
}
log_cholesky_of <- function(V) { L <- t(chol(V)); diag(L) <- log(diag(L)); L[lower.tri(L, TRUE)] }
# Durbin and Levinson: partial autocorrelations to autocorrelations.
from_partial <- function(partial) {
  r <- phi <- partial[1]
  for (k in seq_along(partial)[-1]) {
    r[k] <- sum(phi * rev(r)) + partial[k] * (1 - sum(phi * r))
    phi <- c(phi - partial[k] * rev(phi), partial[k])
  }
  r
}

# Several covariances of one row set, the parameters one after the other: their sum.
summed <- function(parts, sizes) function(phi) {
  ends <- cumsum(sizes)
  out <- Map(function(part, from, to) part(phi[from:to]), parts, ends - sizes + 1, ends)
  list(V = Reduce(`+`, lapply(out, `[[`, "V")), D = do.call(c, lapply(out, `[[`, "D")), DD = do.call(c, unname(Map(moved, out, ends - sizes))))
}
moved <- function(out, by) setNames(out$DD, vapply(strsplit(as.character(names(out$DD)), ","), function(k) paste(as.integer(k) + by, collapse = ","), ""))

# A model: y, X, blocks of rows that are independent of each other, and covariance(phi), a list of V, D and DD per block, or of
# V alone where `values`.
criterion_of <- function(model, phi) {
  XVX <- 0; XVy <- 0; yVy <- 0; logdet <- 0
  parts <- model$covariance(phi, values = TRUE)
  for (b in seq_along(model$blocks)) {
    rows <- model$blocks[[b]]
    R <- tryCatch(chol(parts[[b]]$V), error = function(e) NULL)
    if (is.null(R)) return(Inf)
    W <- backsolve(R, cbind(model$X, model$y)[rows, , drop = FALSE], transpose = TRUE)
    p <- ncol(model$X)
    C <- crossprod(W)
    XVX <- XVX + C[1:p, 1:p]; XVy <- XVy + C[1:p, p + 1]; yVy <- yVy + C[p + 1, p + 1]
    logdet <- logdet + 2 * sum(log(diag(R)))
  }
  rss <- yVy - sum(XVy * solve(XVX, XVy))
  free <- length(model$y) - if (model$reml) ncol(model$X) else 0
  logdet + rss + free * log(2 * pi) + if (model$reml) as.numeric(determinant(XVX)$modulus) else 0
}

# Everything at one phi, from the full inverse.
exactly <- function(model, phi) {
  n <- length(model$y); X <- model$X; k <- length(phi)
  inverse <- matrix(0, n, n); logdet <- 0
  parts <- model$covariance(phi)
  for (b in seq_along(parts)) {
    rows <- model$blocks[[b]]
    R <- chol(parts[[b]]$V)
    inverse[rows, rows] <- chol2inv(R)
    logdet <- logdet + 2 * sum(log(diag(R)))
  }
  VX <- inverse %*% X
  P0 <- solve(crossprod(X, VX)); P0 <- (P0 + t(P0)) / 2
  b <- drop(P0 %*% crossprod(VX, model$y))
  P <- inverse - VX %*% P0 %*% t(VX)
  Py <- drop(inverse %*% (model$y - X %*% b))
  times <- function(M, pick) {
    out <- matrix(0, nrow(M), n)
    for (i in seq_along(parts)) { S <- pick(parts[[i]]); if (!is.null(S)) { rows <- model$blocks[[i]]; out[, rows] <- M[, rows, drop = FALSE] %*% S } }
    out
  }
  A <- if (model$reml) P else inverse
  first <- lapply(seq_len(k), function(j) times(A, function(part) part$D[[j]]))
  u <- sapply(seq_len(k), function(j) drop(times(t(Py), function(part) part$D[[j]])))
  gradient <- sapply(seq_len(k), function(j) sum(diag(first[[j]])) - sum(u[, j] * Py))
  expected <- matrix(0, k, k)
  for (i in seq_len(k)) for (j in seq_len(i)) expected[i, j] <- expected[j, i] <- sum(first[[i]] * t(first[[j]]))
  hessian <- 2 * t(u) %*% P %*% u - expected
  keys <- unique(unlist(lapply(parts, function(part) names(part$DD))))
  R <- list()
  for (key in keys) {
    jk <- as.integer(strsplit(key, ",")[[1]])
    half <- times(t(VX), function(part) part$DD[[key]])
    R[[key]] <- half %*% VX
    bent <- 0
    for (i in seq_along(parts)) { S <- parts[[i]]$DD[[key]]; rows <- model$blocks[[i]]
      if (!is.null(S)) bent <- bent + sum(A[rows, rows] * S) - sum(Py[rows] * (S %*% Py[rows])) }
    hessian[jk[1], jk[2]] <- hessian[jk[1], jk[2]] + bent
    if (jk[1] != jk[2]) hessian[jk[2], jk[1]] <- hessian[jk[2], jk[1]] + bent
  }
  free <- n - if (model$reml) ncol(X) else 0
  value <- logdet + sum((model$y - X %*% b) * Py) + free * log(2 * pi) - if (model$reml) as.numeric(determinant(P0)$modulus) else 0
  half <- lapply(seq_len(k), function(j) times(t(VX), function(part) part$D[[j]]))
  list(phi = phi, criterion = value, gradient = gradient, hessian = hessian, expected = expected / 2, b = b, P0 = P0, Py = Py,
    F = lapply(half, function(h) h %*% VX), half = half, inverse = inverse, R = R)
}

# nlminb and BFGS on unconstrained numbers from each start, then Newton in phi with the exact derivatives.
minimised <- function(model, starts) {
  f <- function(theta) { value <- criterion_of(model, model$phi(theta)); if (is.finite(value)) value else 1e10 }
  ends <- list()
  for (start in starts) {
    a <- nlminb(start, f, control = list(rel.tol = 1e-13, x.tol = 1e-10, eval.max = 5000, iter.max = 2000))
    b <- optim(a$par, f, method = "BFGS", control = list(reltol = 1e-14, maxit = 500))
    ends <- c(ends, list(a$par, b$par))
  }
  values <- vapply(ends, f, 0)
  phi <- model$phi(ends[[which.min(values)]])
  for (round in 1:20) {
    now <- exactly(model, phi)
    step <- solve(now$hessian, now$gradient)
    decrement <- sum(step * now$gradient)
    if (abs(decrement) < 1e-15) break
    size <- 1
    while (criterion_of(model, phi - size * step) > now$criterion + 1e-10 && size > 1e-6) size <- size / 2
    phi <- phi - size * step
  }
  now$decrement <- decrement
  now$curvature <- min(eigen(now$hessian * outer(sqrt(abs(phi)), sqrt(abs(phi))), TRUE, TRUE)$values)
  now$spread <- max(values) - now$criterion
  now
}

# P_A = P0 + 2 P0 [sum w_jk (Q_jk - F_j P0 F_k - R_jk / 4)] P0, Kenward and Roger 1997; w from the expected information.
kenward_roger <- function(at) {
  w <- solve(at$expected); k <- nrow(w); P0 <- at$P0
  middle <- 0
  for (i in seq_len(k)) for (j in seq_len(k)) {
    Q <- at$half[[i]] %*% at$inverse %*% t(at$half[[j]])
    bent <- at$R[[paste0(min(i, j), ",", max(i, j))]]
    middle <- middle + w[i, j] * (Q - at$F[[i]] %*% P0 %*% at$F[[j]] - if (is.null(bent)) 0 else bent / 4)
  }
  out <- P0 + 2 * P0 %*% middle %*% P0
  list(w = w, covariance = (out + t(out)) / 2)
}

# F, degrees of freedom and scale for the rows L.
kenward_roger_test <- function(at, kr, L) {
  l <- nrow(L); P0 <- at$P0
  T <- t(L) %*% solve(L %*% P0 %*% t(L)) %*% L
  G <- lapply(at$F, function(f) T %*% P0 %*% f %*% P0)
  A1 <- A2 <- 0
  for (i in seq_along(G)) for (j in seq_along(G)) {
    A1 <- A1 + kr$w[i, j] * sum(diag(G[[i]])) * sum(diag(G[[j]]))
    A2 <- A2 + kr$w[i, j] * sum(G[[i]] * t(G[[j]]))
  }
  B <- (A1 + 6 * A2) / (2 * l)
  g <- ((l + 1) * A1 - (l + 4) * A2) / ((l + 2) * A2)
  c <- c(g, l - g, l + 2 - g) / (3 * l + 2 * (1 - g))
  E <- 1 / (1 - A2 / l)
  V <- (2 / l) * (1 + c[1] * B) / ((1 - c[2] * B)^2 * (1 - c[3] * B))
  rho <- V / (2 * E^2)
  m <- 4 + (l + 2) / (l * rho - 1)
  estimate <- drop(L %*% at$b)
  raw <- sum(estimate * solve(L %*% kr$covariance %*% t(L), estimate)) / l
  statistic <- m / (E * (m - 2)) * raw
  list(statistic = statistic, df_num = l, df_den = m, p_value = pf(statistic, l, m, lower.tail = FALSE))
}

satterthwaite_df <- function(at, L) {
  A <- 2 * solve(at$hessian)
  apply(L, 1, function(l) { x <- at$P0 %*% l; g <- sapply(at$F, function(f) sum(x * (f %*% x))); 2 * sum(l * x)^2 / sum(g * (A %*% g)) })
}

# Fai and Cornelius 1996.
satterthwaite_test <- function(at, L) {
  e <- eigen(L %*% at$P0 %*% t(L), TRUE)
  rotated <- t(e$vectors) %*% L
  q <- nrow(L)
  nu <- satterthwaite_df(at, rotated)
  E <- sum((nu / (nu - 2))[nu > 2])
  statistic <- sum(drop(rotated %*% at$b)^2 / e$values) / q
  list(statistic = statistic, df_num = q, df_den = 2 * E / (E - q), p_value = pf(statistic, q, 2 * E / (E - q), lower.tail = FALSE))
}

# `full` has every parameter, also where `at` lacks those of a direction without variance.
ways <- function(at, reml, full) c(list(satterthwaite = list(covariance = at$P0, df = function(L) satterthwaite_df(at, L), test = function(L) satterthwaite_test(at, L))),
  if (reml) { kr <- kenward_roger(full); list(`kenward-roger` = list(covariance = kr$covariance,
    df = function(L) apply(L, 1, function(l) kenward_roger_test(full, kr, t(l))$df_den), test = function(L) kenward_roger_test(full, kr, L))) })

# A table as one list a column: a number a line would be 20,000 lines.
columns_of <- function(frame) lapply(as.list(frame), I)

# One row of labels per row of L, with estimate, standard error and df.
asked <- function(at, way, labels, L) cbind(labels, estimate = drop(L %*% at$b), std_error = sqrt(rowSums((L %*% way$covariance) * L)), df = way$df(L))

# Means of each cohort, their contrasts of level and change, and changes: `cells` has cohort and time, `weights` a row for each.
cohort_tables <- function(at, way, cells, weights, baseline) {
  row <- function(cohort, time) weights[cells$cohort == cohort & cells$time == time, ]
  change <- function(cohort, time) row(cohort, time) - row(cohort, baseline)
  cohorts <- unique(cells$cohort); later <- setdiff(unique(cells$time), baseline)
  combine <- function(frame, f) do.call(rbind, Map(f, frame$cohort, frame$time))
  pairs <- function(cohorts, times) expand.grid(cohort = cohorts, time = times, stringsAsFactors = FALSE)
  between <- pairs(cohorts[-1], later); own <- pairs(cohorts, later)
  level <- asked(at, way, cbind(between, quantity = "level"), combine(between, function(g, t) row(g, t) - row(cohorts[1], t)))
  changed <- asked(at, way, cbind(between, quantity = "change"), combine(between, function(g, t) change(g, t) - change(cohorts[1], t)))
  list(means = columns_of(asked(at, way, cells, weights)), contrasts = columns_of(rbind(level, changed)),
    changes = columns_of(asked(at, way, own, combine(own, change))))
}

# What every fitted model says.
dense_answers <- function(case, model, at, joint, grid, full = at) {
  out <- list()
  out$criterion <- with_rule(list(value = at$criterion, optimum = at$decrement < 1e-12 && at$curvature > 0, gradient = at$decrement,
    curvature = at$curvature, spread_over_starts = at$spread), value = "criterion")
  if (!is.null(case$known)) stopifnot(abs(at$criterion - case$known) < 1e-6)
  out$fixed <- with_rule(list(), estimate = "fixed", std_error = "std_error", df = "df")
  out$parameters <- ncol(model$X) + length(full$phi)
  terms <- data.frame(term = colnames(model$X))
  all <- ways(at, model$reml, full)
  for (name in names(all)) {
    way <- all[[name]]
    out$fixed[[name]] <- columns_of(asked(at, way, terms, diag(ncol(model$X))))
    if (!is.null(grid)) out$cohorts[[name]] <- cohort_tables(at, way, grid$cells, grid$weights, grid$baseline)
  }
  if (!is.null(grid)) out$cohorts <- with_rule(out$cohorts, estimate = "fixed", std_error = "std_error", df = "df")
  for (j in joint) {
    L <- diag(ncol(model$X))[match(j, colnames(model$X)), , drop = FALSE]
    out$joint <- c(out$joint, list(with_rule(c(list(terms = I(j)), lapply(all, function(way) way$test(L))),
      statistic = "statistic", df = "df", p_value = "statistic")))
  }
  out$vcov <- with_rule(list(value = unname(at$P0)), value = "vcov")
  out
}
