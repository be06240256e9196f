static float bf16_to_float(uint16_t x) {
  uint32_t bits = (uint32_t)x << 16;
  float y;
  memcpy(&y, &bits, 4);
  return y;
}
static uint16_t float_to_bf16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
  return (bits & 0x7FFFFFFF) > 0x7F800000 ? (uint16_t)((bits >> 16) | 0x40) : (uint16_t)rounded;
}

static void widen(cpu_float_type type, size_t n, const void *x, float *y) {
  if (type == CPU_F32) {
    memcpy(y, x, n * sizeof(float));
  } else if (type == CPU_BF16) {
    const uint16_t *h = x;
    for (size_t i = 0; i < n; i++) y[i] = bf16_to_float(h[i]);
  } else {
    const _Float16 *h = x;
    for (size_t i = 0; i < n; i++) y[i] = (float)h[i];
  }
}

static void narrow(cpu_float_type type, size_t n, const float *x, void *y) {
  if (type == CPU_F32) {
    memcpy(y, x, n * sizeof(float));
  } else if (type == CPU_BF16) {
    uint16_t *h = y;
    for (size_t i = 0; i < n; i++) h[i] = float_to_bf16(x[i]);
  } else {
    _Float16 *h = y;
    for (size_t i = 0; i < n; i++) h[i] = (_Float16)x[i];
  }
}
