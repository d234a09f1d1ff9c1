# Prints the numbers of r_tables.h: what R makes of the statistics that src/grade computes.
#
#     Rscript test/unit/grade/tables.R > test/unit/grade/r_tables.h
#
# (Debian: r-base-core, which holds nothing but base R.) Inputs come from a small congruential
# generator, so that the test makes the same ones; what base R has no function for is written out
# here in its own way, with matrices.

options(digits = 17)
number <- function(x) formatC(x, digits = 16, format = "g", width = 1)
row <- function(...) cat("\t{", paste(sapply(c(...), number), collapse = ", "), "},\n", sep = "")
table_of <- function(name, width, body) {
  cat("\nstatic const double ", name, "[][", width, "] = {\n", sep = "")
  body()
  cat("};\n")
}
state <- 1
uniform <- function(n) sapply(seq_len(n), function(i) {
  state <<- (state * 16807) %% 2147483647
  state / 2147483647
})

cat("/* Made by tables.R with ", R.version.string, "; see there. */\n", sep = "")
cat("/* clang-format off */\n")

table_of("r_quantiles", 3, function() {
  for (df in c(1, 2, 3, 7, 30, 250, 10000))
    for (p in c(0.0005, 0.025, 0.2, 0.9, 0.975, 0.9995)) row(df, p, qt(p, df))
})
table_of("r_normal", 2, function() {
  for (p in c(1e-9, 1e-4, 0.01, 0.3, 0.5, 0.8, 0.975, 0.99999)) row(p, qnorm(p))
})
table_of("r_beta", 4, function() {
  for (a in c(0.5, 1, 3, 40)) for (b in c(0.5, 2, 17, 400))
    for (x in c(0.001, 0.1, 0.5, 0.93)) row(a, b, x, pbeta(x, a, b))
})
# k, n, Clopper-Pearson (binom.test), Wilson (prop.test without correction)
table_of("r_proportions", 6, function() {
  for (kn in list(c(16, 250), c(95, 250), c(0, 200), c(1, 10), c(5, 10), c(163, 164), c(1, 1),
                  c(500, 1000), c(7, 1200))) {
    cp <- binom.test(kn[1], kn[2])$conf.int
    w <- suppressWarnings(prop.test(kn[1], kn[2], correct = FALSE))$conf.int
    row(kn, cp, w)
  }
})
# only a, only b, exact McNemar: a binomial test of one half
table_of("r_mcnemar", 3, function() {
  for (d in list(c(0, 1), c(3, 3), c(1, 9), c(12, 25), c(0, 15), c(140, 101)))
    row(d, binom.test(d[1], sum(d))$p.value)
})
table_of("r_holm", 2, function() {
  p <- c(0.01, 0.04, 0.03, 0.005, 0.5, 0.03, 0.2)
  adjusted <- p.adjust(p, "holm")
  for (i in seq_along(p)) row(p[i], adjusted[i])
})
# n, c, k, pass@k, pass^k by choose()
table_of("r_pass", 5, function() {
  for (v in list(c(10, 3, 1), c(10, 3, 5), c(100, 22, 10), c(200, 7, 100), c(5, 5, 5), c(20, 1, 20)))
    row(v, 1 - choose(v[1] - v[2], v[3]) / choose(v[1], v[3]),
        choose(v[2], v[3]) / choose(v[1], v[3]))
})

# One sample of 60 values in 12 clusters of unequal size, a second beside it. The clustered error
# is that of an intercept-only linear model: bread and meat by matrices.
state <- 20261126
cluster <- floor(uniform(60)^2 * 12)
a <- uniform(60)
b <- 0.6 * a + 0.4 * uniform(60)
clustered <- function(values, cluster) {
  X <- matrix(1, length(values), 1)
  fit <- lm.fit(X, values)
  bread <- solve(t(X) %*% X)
  scores <- rowsum(X * fit$residuals, cluster)
  C <- nrow(scores)
  sqrt((bread %*% (t(scores) %*% scores) %*% bread)[1, 1] * C / (C - 1))
}
table_of("r_means", 8, function() {
  C <- length(unique(cluster))
  se <- clustered(a, cluster)
  t1 <- t.test(a)
  row(mean(a), sd(a) / sqrt(60), t1$conf.int, se, mean(a) - qt(0.975, C - 1) * se,
      mean(a) + qt(0.975, C - 1) * se, C)
})
# paired: difference, interval, p, correlation; then clustered error and p; then Welch: interval, p
table_of("r_paired", 10, function() {
  t2 <- t.test(a, b, paired = TRUE)
  se <- clustered(a - b, cluster)
  C <- length(unique(cluster))
  p <- 2 * pt(-abs(mean(a - b) / se), C - 1)
  w <- t.test(a[1:40], b)
  row(mean(a - b), t2$conf.int, t2$p.value, cor(a, b), se, p, w$conf.int, w$p.value)
})
# delta, power, n of power.t.test's normal limit: sd 1, paired
table_of("r_power", 3, function() {
  for (v in list(c(0.1, 0.8), c(0.03, 0.9), c(0.5, 0.5)))
    row(v, ((qnorm(0.975) + qnorm(v[2])) / v[1])^2)
})

# Agreement: 40 items, 3 raters, 3 categories; the third leaves out every fifth item.
state <- 77
truth <- floor(uniform(40) * 3)
rate <- function(error) ifelse(uniform(40) < error, floor(uniform(40) * 3), truth)
ratings <- cbind(rate(0.2), rate(0.4), rate(0.5))
cohen <- function(x, y) {
  t <- table(factor(x, 0:2), factor(y, 0:2)) / length(x)
  expected <- sum(rowSums(t) * colSums(t))
  (sum(diag(t)) - expected) / (1 - expected)
}
fleiss <- function(m) {
  counts <- t(apply(m, 1, function(r) tabulate(r + 1, 3)))
  n <- ncol(m)
  agree <- mean((rowSums(counts^2) - n) / (n * (n - 1)))
  chance <- sum((colSums(counts) / sum(counts))^2)
  (agree - chance) / (1 - chance)
}
# By the matrix of coincidences; distance 0/1, or the square of the difference
alpha <- function(m, interval) {
  o <- matrix(0, 3, 3)
  for (i in seq_len(nrow(m))) {
    r <- m[i, !is.na(m[i, ])]
    if (length(r) < 2) next
    for (x in seq_along(r)) for (y in seq_along(r)) if (x != y)
      o[r[x] + 1, r[y] + 1] <- o[r[x] + 1, r[y] + 1] + 1 / (length(r) - 1)
  }
  d <- outer(0:2, 0:2, function(x, y) if (interval) (x - y)^2 else as.numeric(x != y))
  n <- rowSums(o)
  1 - (sum(n) - 1) * sum(o * d) / sum(outer(n, n) * d)
}
missing <- ratings
missing[seq(5, 40, 5), 3] <- NA
table_of("r_agreement", 6, function() {
  row(cohen(ratings[, 1], ratings[, 2]), cohen(ratings[, 1], ratings[, 3]), fleiss(ratings),
      alpha(ratings, FALSE), alpha(missing, FALSE), alpha(missing, TRUE))
})

# Bradley-Terry: 4 players, 300 comparisons in 60 prompts, ties as one half; quasibinomial glm with
# player 0 at zero, the sandwich clustered by prompt. And one slope on a covariate: tanh of a
# difference in length, with two players (the length-controlled rate).
state <- 4242
n <- 300
prompt <- rep(0:59, each = 5)
first <- floor(uniform(n) * 4)
second <- (first + 1 + floor(uniform(n) * 3)) %% 4
strength <- c(0, 0.4, 0.9, -0.3)
p <- plogis(strength[first + 1] - strength[second + 1])
u <- uniform(n)
score <- ifelse(u < p - 0.1, 1, ifelse(u < p + 0.1, 0.5, 0))
sandwich <- function(X, y, cluster) {
  fit <- suppressWarnings(glm(y ~ X - 1, family = quasibinomial,
                              control = list(epsilon = 1e-14, maxit = 100)))
  mu <- fitted(fit)
  H <- t(X) %*% (X * (mu * (1 - mu)))
  G <- rowsum(X * (y - mu), cluster)
  C <- nrow(G)
  V <- solve(H) %*% (t(G) %*% G) %*% solve(H) * C / (C - 1)
  list(coef = coef(fit), V = V)
}
X <- sapply(1:3, function(k) (first == k) - (second == k))
bt <- sandwich(X, score, prompt)
table_of("r_bradley_terry", 2, function() for (k in 1:3) row(bt$coef[k], sqrt(bt$V[k, k])))
length_difference <- tanh(2 * uniform(n) - 1 + 0.8 * (score - 0.5))
lc <- sandwich(cbind(1, length_difference), score, prompt)
table_of("r_length_controlled", 4, function()
  row(lc$coef[1], sqrt(lc$V[1, 1]), lc$coef[2], plogis(lc$coef[1])))
cat("/* clang-format on */\n")

# Ranks: kind, m, n, statistic, p. Values are uniforms, rounded to quarters where there are to be
# ties; the second sample is shifted by a fifth. wilcox.test and ks.test choose exact or limit.
table_of("r_ranks", 6, function() {
  for (v in list(c(8, 11, 0), c(30, 45, 0), c(49, 49, 0), c(20, 25, 1), c(60, 70, 0), c(120, 90, 1),
                 c(150, 150, 0), c(5, 5, 1))) {
    state <<- 4711
    m <- v[1]; n <- v[2]
    a <- uniform(m); b <- uniform(n) + 0.2
    if (v[3]) { a <- round(a * 4) / 4; b <- round(b * 4) / 4 }
    w <- suppressWarnings(wilcox.test(a, b))
    k <- suppressWarnings(ks.test(a, b))
    row(0, v, w$statistic, w$p.value)
    row(1, v, k$statistic, k$p.value)
    if (m <= n) {
      s <- suppressWarnings(wilcox.test(a, b[seq_len(m)], paired = TRUE))
      row(2, v, s$statistic, s$p.value)
    }
  }
})

# Score interval of a paired difference (Tango 1998): items only a passed, only b, all; low, high.
# The likeliest share q of items that only b passed, given the difference d, is in closed form and
# checked against optimize; the ends are found by uniroot.
likeliest <- function(b, c, n, d) {
  f <- function(q) b * log(q + d) + c * log(q) + (n - b - c) * log(1 - 2 * q - d)
  optimize(f, c(max(0, -d), (1 - d) / 2), maximum = TRUE, tol = 1e-12)$maximum
}
for (d in c(-0.3, 0.1, 0.4)) stopifnot(abs(likeliest(12, 5, 50, d) - (function(B)
  (sqrt(B^2 + 8 * 50 * 5 * d * (1 - d)) - B) / 200)(-17 + 93 * d)) < 1e-6)
tango <- function(b, c, n) {
  z <- qnorm(0.975)
  score <- function(d) {
    B <- -b - c + (2 * n - b + c) * d
    q <- (sqrt(max(0, B^2 + 8 * n * c * d * (1 - d))) - B) / (4 * n)
    v <- n * (2 * q + d * (1 - d))
    if (v <= 0) sign(b - c - n * d) * 1e9 else (b - c - n * d) / sqrt(v)
  }
  d <- (b - c) / n
  root <- function(from, to, shift) uniroot(function(x) score(x) + shift, c(from, to), tol = 1e-15)$root
  c(if (d <= -1) -1 else root(-1, d, -z), if (d >= 1) 1 else root(d, 1, z))
}
table_of("r_tango", 5, function() {
  for (v in list(c(12, 2, 50), c(0, 1, 44), c(3, 0, 3), c(0, 0, 20), c(7, 1, 8), c(0, 8, 8), c(1, 1, 2),
                 c(40, 25, 100), c(0, 30, 1000), c(300, 250, 5000))) row(v, tango(v[1], v[2], v[3]))
})
# Where every item was decided it is twice prop.test's interval (Wilson) less one.
stopifnot(max(abs(tango(7, 1, 8) - (2 * suppressWarnings(prop.test(7, 8, correct = FALSE))$conf.int - 1))) < 1e-9)
