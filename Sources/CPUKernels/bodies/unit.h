// Rows of `groups` equal slices, each divided by its norm. A slice of a norm below `shortest` becomes
// zero, with an inverse norm of zero, so its gradient is zero too.
static void unit_slices(size_t rows, size_t n, size_t groups, float shortest, const float *x,
                        float *y, float *inverse_norms) {
  if (n == 0) return;  // Callers may then have no memory for norms.
  size_t width = n / groups;
  for (size_t s = 0; s < rows * groups; s++, x += width, y += width) {
    float norm = sqrtf(row_dot(width, x, x));
    float factor = norm < shortest ? 0.0f : 1.0f / norm;
    inverse_norms[s] = factor;
    for (size_t i = 0; i < width; i++) y[i] = x[i] * factor;
  }
}

// dx = inverse_norm * (dy - y (y . dy)), slice by slice. dx may be dy.
static void unit_slices_backward(size_t rows, size_t n, size_t groups, const float *y,
                                 const float *inverse_norms, const float *dy, float *dx) {
  if (n == 0) return;
  size_t width = n / groups;
  for (size_t s = 0; s < rows * groups; s++, y += width, dy += width, dx += width) {
    float along = row_dot(width, y, dy), factor = inverse_norms[s];
    for (size_t i = 0; i < width; i++) dx[i] = factor * (dy[i] - y[i] * along);
  }
}
