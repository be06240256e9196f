// Rows cut into `groups` equal slices, each divided by its length. A slice shorter than
// `shortest` becomes zero and keeps an inverse length of zero, so its gradient is zero too.
static void unit_slices(size_t rows, size_t n, size_t groups, float shortest, const float *x,
                        float *y, float *inverse) {
  if (n == 0) return;  // Nor do callers keep memory for lengths of nothing.
  size_t width = n / groups;
  for (size_t s = 0; s < rows * groups; s++, x += width, y += width) {
    float length = sqrtf(row_dot(width, x, x));
    float factor = length < shortest ? 0.0f : 1.0f / length;
    inverse[s] = factor;
    for (size_t i = 0; i < width; i++) y[i] = x[i] * factor;
  }
}

// dx = inverse * (dy - y (y . dy)), slice by slice. dx may be dy.
static void unit_slices_backward(size_t rows, size_t n, size_t groups, const float *y,
                                 const float *inverse, const float *dy, float *dx) {
  if (n == 0) return;
  size_t width = n / groups;
  for (size_t s = 0; s < rows * groups; s++, y += width, dy += width, dx += width) {
    float along = row_dot(width, y, dy), factor = inverse[s];
    for (size_t i = 0; i < width; i++) dx[i] = factor * (dy[i] - y[i] * along);
  }
}
