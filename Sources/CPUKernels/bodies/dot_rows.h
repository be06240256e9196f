// Products of a few rows with the rows of long matrices: C = A Bᵀ, a few rows of B at a time for each
// head.
#if VECTOR_BYTES == 64
// The sum of the lanes of each of sixteen vectors, as one vector.
INLINE vf v_sums(const vf a[16]) {
  __m512 pair[8], quad[4], half[2];
#pragma unroll
  for (size_t i = 0; i < 8; i++)
    pair[i] = _mm512_add_ps(_mm512_unpacklo_ps((__m512)a[2 * i], (__m512)a[2 * i + 1]),
                            _mm512_unpackhi_ps((__m512)a[2 * i], (__m512)a[2 * i + 1]));
#pragma unroll
  for (size_t i = 0; i < 4; i++) {
    __m512d x = (__m512d)pair[2 * i], y = (__m512d)pair[2 * i + 1];
    quad[i] = _mm512_add_ps((__m512)_mm512_unpacklo_pd(x, y), (__m512)_mm512_unpackhi_pd(x, y));
  }
#pragma unroll
  for (size_t i = 0; i < 2; i++)
    half[i] = _mm512_add_ps(_mm512_shuffle_f32x4(quad[2 * i], quad[2 * i + 1], 0x88),
                            _mm512_shuffle_f32x4(quad[2 * i], quad[2 * i + 1], 0xDD));
  return (vf)_mm512_add_ps(_mm512_shuffle_f32x4(half[0], half[1], 0x88),
                           _mm512_shuffle_f32x4(half[0], half[1], 0xDD));
}

// Rows of B processed together: their sums fold into one vector.
#define DOT_STEP 16

// The longest row that is arranged in groups.
#define MOST_DEPTH 256
// Floats of arranged groups that are kept: at least all of one head.
#define MOST_ARRANGED 8192

// Rows of A are processed in groups of `width`, 8, 4 or 1, the last padded with zeros. A vector of an
// arranged group holds LANES / width words of each row; a word is a float or a pair of bfloat16. The
// same words of a row of B, broadcast, multiply all rows of the group at once.
INLINE size_t group_width(size_t left) { return left >= 5 ? 8 : left >= 2 ? 4 : 1; }

// Eight vectors of eight pairs of words: pair i of vector j becomes pair j of vector i.
INLINE void transpose_pairs(const __m512d row[8], float *x) {
  __m512d two[8], four[8];
#pragma unroll
  for (size_t i = 0; i < 4; i++) {
    two[i] = _mm512_unpacklo_pd(row[2 * i], row[2 * i + 1]);
    two[i + 4] = _mm512_unpackhi_pd(row[2 * i], row[2 * i + 1]);
  }
  // Pairs 0 and 4, 2 and 6, 1 and 5, 3 and 7 of rows 0 to 3, and of rows 4 to 7.
#pragma unroll
  for (size_t i = 0; i < 8; i += 2) {
    four[i] = _mm512_shuffle_f64x2(two[i], two[i + 1], 0x88);
    four[i + 1] = _mm512_shuffle_f64x2(two[i], two[i + 1], 0xDD);
  }
#pragma unroll
  for (size_t odd = 0; odd < 2; odd++)
#pragma unroll
    for (size_t i = 0; i < 2; i++) {
      __m512d low = four[4 * odd + i], high = four[4 * odd + 2 + i];
      _mm512_storeu_pd(x + (2 * i + odd) * LANES, _mm512_shuffle_f64x2(low, high, 0x88));
      _mm512_storeu_pd(x + (2 * i + odd + 4) * LANES, _mm512_shuffle_f64x2(low, high, 0xDD));
    }
}

// LANES words of a row from word p on.
INLINE __m512 row_words(const int paired, const float *row, size_t p) {
#if HAS_BFLOAT16_DOT
  if (paired) {
    __m512 x = _mm512_loadu_ps(row + 2 * p), y = _mm512_loadu_ps(row + 2 * p + LANES);
    return (__m512)_mm512_cvtne2ps_pbh(y, x);
  }
#endif
  (void)paired;
  return _mm512_loadu_ps(row + p);
}

// Arranges `rows` <= `width` rows of A; `width` and `paired` are constants at each call.
INLINE void arrange_rows(const int paired, const size_t width, size_t rows, size_t k,
                         const float *a, ptrdiff_t a_row, float *x) {
  const size_t words = paired ? k / 2 : k;
  for (size_t p = 0; p < words; p += LANES, x += width * LANES) {
    __m512 row[8];
#pragma unroll
    for (size_t q = 0; q < width; q++)
      row[q] = q < rows ? row_words(paired, a + (ptrdiff_t)q * a_row, p) : _mm512_setzero_ps();
    if (width == 8) {
      __m512d pairs[8];
#pragma unroll
      for (size_t q = 0; q < 8; q++) pairs[q] = (__m512d)row[q];
      transpose_pairs(pairs, x);
    } else if (width == 4) {
      __m512 even0 = _mm512_shuffle_f32x4(row[0], row[1], 0x88);
      __m512 even1 = _mm512_shuffle_f32x4(row[2], row[3], 0x88);
      __m512 odd0 = _mm512_shuffle_f32x4(row[0], row[1], 0xDD);
      __m512 odd1 = _mm512_shuffle_f32x4(row[2], row[3], 0xDD);
      _mm512_storeu_ps(x, _mm512_shuffle_f32x4(even0, even1, 0x88));
      _mm512_storeu_ps(x + LANES, _mm512_shuffle_f32x4(odd0, odd1, 0x88));
      _mm512_storeu_ps(x + 2 * LANES, _mm512_shuffle_f32x4(even0, even1, 0xDD));
      _mm512_storeu_ps(x + 3 * LANES, _mm512_shuffle_f32x4(odd0, odd1, 0xDD));
    } else {
      _mm512_storeu_ps(x, row[0]);
    }
  }
}

INLINE void arrange_group(const int paired, size_t width, size_t rows, size_t k, const float *a,
                          ptrdiff_t a_row, float *x) {
  if (width == 8) arrange_rows(paired, 8, rows, k, a, a_row, x);
  else if (width == 4) arrange_rows(paired, 4, rows, k, a, a_row, x);
  else arrange_rows(paired, 1, rows, k, a, a_row, x);
}

INLINE __m512 dot_words(const int paired, __m512 sum, __m512 x, __m512 y) {
#if HAS_BFLOAT16_DOT
  if (paired) return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)y);
#endif
  (void)paired;
  return _mm512_fmadd_ps(x, y, sum);
}

// c[q*c_row + r] for the rows q < `rows` of a group: line[t][i] has rows 4i to 4i + 3 of B, a quarter of
// a vector each, for the rows t + 2 * (0 … 3) of A (`width` 8) or 0 … 3 (`width` 4).
INLINE void store_lines(const size_t width, size_t rows, const __m512 line[2][4], float *c,
                        ptrdiff_t c_row) {
#pragma unroll
  for (size_t t = 0; t < width / 4; t++) {
    const __m512 *l = line[t];
    __m512 even0 = _mm512_shuffle_f32x4(l[0], l[1], 0x88);
    __m512 even1 = _mm512_shuffle_f32x4(l[2], l[3], 0x88);
    __m512 odd0 = _mm512_shuffle_f32x4(l[0], l[1], 0xDD);
    __m512 odd1 = _mm512_shuffle_f32x4(l[2], l[3], 0xDD);
    __m512 out[4] = {_mm512_shuffle_f32x4(even0, even1, 0x88), _mm512_shuffle_f32x4(odd0, odd1, 0x88),
                     _mm512_shuffle_f32x4(even0, even1, 0xDD), _mm512_shuffle_f32x4(odd0, odd1, 0xDD)};
#pragma unroll
    for (size_t i = 0; i < 4; i++) {
      size_t q = width == 8 ? 2 * i + t : i;
      if (q < rows) _mm512_storeu_ps(c + (ptrdiff_t)q * c_row, out[i]);
    }
  }
}

// c[q*c_row + r] = the dot product of row q < `rows` of A, in `groups` consecutive arranged groups of
// `width` rows, and row r of B, for DOT_STEP rows of B. Each load of B serves all groups. `width`,
// `groups` and `paired` are constants at each call.
INLINE void group_dots(const size_t width, const size_t groups, const int paired, size_t rows,
                       size_t words, const float *a, const char *b, ptrdiff_t b_row_bytes, float *c,
                       ptrdiff_t c_row) {
  const size_t step_bytes = 64 / width;
  __m512 line[2][2][4];
  vf sums[DOT_STEP];
  // Eight rows at a time, as many as there are registers for their addresses.
#pragma unroll
  for (size_t half = 0; half < 2; half++, b += 8 * b_row_bytes) {
    __m512 total[2][8];
#pragma unroll
    for (size_t g = 0; g < groups; g++)
#pragma unroll
      for (size_t r = 0; r < 8; r++) total[g][r] = _mm512_setzero_ps();
    const char *row[8];
#pragma unroll
    for (size_t r = 0; r < 8; r++) row[r] = b + (ptrdiff_t)r * b_row_bytes;
    for (size_t p = 0; p < words * width / LANES; p++) {
      __m512 x[2];
#pragma unroll
      for (size_t g = 0; g < groups; g++) x[g] = _mm512_loadu_ps(a + g * words * width + p * LANES);
#pragma unroll
      for (size_t r = 0; r < 8; r++) {
        const char *y = row[r] + p * step_bytes;
        __m512 w;
        if (width == 8) w = (__m512)_mm512_broadcastq_epi64(_mm_loadl_epi64((const __m128i *)y));
        else if (width == 4) w = _mm512_broadcast_f32x4(_mm_loadu_ps((const float *)y));
        else w = _mm512_loadu_ps(y);
#pragma unroll
        for (size_t g = 0; g < groups; g++) total[g][r] = dot_words(paired, total[g][r], x[g], w);
      }
    }
#pragma unroll
    for (size_t g = 0; g < groups; g++) {
      __m512 *t = total[g];
#pragma unroll
      for (size_t i = 0; i < 2; i++, t += 4) {
        if (width == 8) {
          __m512 low = _mm512_add_ps(_mm512_shuffle_ps(t[0], t[1], 0x88),
                                     _mm512_shuffle_ps(t[0], t[1], 0xDD));
          __m512 high = _mm512_add_ps(_mm512_shuffle_ps(t[2], t[3], 0x88),
                                      _mm512_shuffle_ps(t[2], t[3], 0xDD));
          line[g][0][2 * half + i] = _mm512_shuffle_ps(low, high, 0x88);
          line[g][1][2 * half + i] = _mm512_shuffle_ps(low, high, 0xDD);
        } else if (width == 4) {
          __m512d low = (__m512d)_mm512_add_ps(_mm512_unpacklo_ps(t[0], t[1]),
                                               _mm512_unpackhi_ps(t[0], t[1]));
          __m512d high = (__m512d)_mm512_add_ps(_mm512_unpacklo_ps(t[2], t[3]),
                                                _mm512_unpackhi_ps(t[2], t[3]));
          line[g][0][2 * half + i] = _mm512_add_ps((__m512)_mm512_unpacklo_pd(low, high),
                                                   (__m512)_mm512_unpackhi_pd(low, high));
        } else {
#pragma unroll
          for (size_t r = 0; r < 4; r++) sums[8 * half + 4 * i + r] = (vf)t[r];
        }
      }
    }
  }
  if (width == 1) {
    v_store(c, v_sums(sums));
    return;
  }
#pragma unroll
  for (size_t g = 0; g < groups; g++)
    store_lines(width, rows - g * width, line[g], c + (ptrdiff_t)(g * width) * c_row, c_row);
}

// C = A Bᵀ of all heads in groups, for whole steps of rows of B; returns the number of rows of B done.
INLINE size_t dot_groups(cpu_float_type type, size_t m, size_t n, const float *a, ptrdiff_t a_head,
                         ptrdiff_t a_row, head_rows b, float *c, ptrdiff_t c_head,
                         ptrdiff_t c_row) {
  const size_t k = b.width, done = n / DOT_STEP * DOT_STEP;
  const int paired = HAS_BFLOAT16_DOT && type == CPU_BF16;
  if (k % (paired ? 2 * LANES : LANES) != 0 || k > MOST_DEPTH || m > 16) return 0;
  const size_t words = paired ? k / 2 : k;
  size_t per_head = 0;
  for (size_t i = 0, width; i < m; i += width) per_head += (width = group_width(m - i)) * words;
  const size_t together = MOST_ARRANGED / per_head;
  for (size_t h0 = 0; h0 < b.heads; h0 += together) {
    float arranged[MOST_ARRANGED], wide[DOT_STEP * MOST_DEPTH];
    size_t h1 = b.heads - h0 < together ? b.heads : h0 + together;
    float *x = arranged;
    for (size_t h = h0; h < h1; h++)
      for (size_t i = 0, width; i < m; i += width, x += width * words) {
        width = group_width(m - i);
        arrange_group(paired, width, m - i < width ? m - i : width, k,
                      a + (ptrdiff_t)h * a_head + (ptrdiff_t)i * a_row, a_row, x);
      }
    for (size_t j = 0; j < done; j += DOT_STEP) {
      x = arranged;
      for (size_t h = h0; h < h1; h++) {
        prefetch_share(type, b, h, j, DOT_STEP);
        const char *y = row_at(type, b.b, (ptrdiff_t)h * b.head + (ptrdiff_t)j * b.row);
        ptrdiff_t y_row = b.row * (type == CPU_F32 ? 4 : 2);
        if (type != CPU_F32 && !paired) {
          for (size_t r = 0; r < DOT_STEP; r++)
            for (size_t p = 0; p < k; p += LANES)
              v_store(wide + r * k + p, v_load_as(type, y + (ptrdiff_t)r * y_row, p));
          y = (const char *)wide, y_row = (ptrdiff_t)(k * sizeof(float));
        }
        for (size_t i = 0, taken; i < m; i += taken, x += taken * words) {
          size_t rows = m - i;
          float *z = c + (ptrdiff_t)h * c_head + (ptrdiff_t)i * c_row + (ptrdiff_t)j;
          taken = group_width(rows);
          if (taken == 8 && rows > 8 && group_width(rows - 8) == 8) {
            taken = 16;
            group_dots(8, 2, paired, rows, words, x, y, y_row, z, c_row);
          } else if (taken == 8) group_dots(8, 1, paired, rows, words, x, y, y_row, z, c_row);
          else if (taken == 4) group_dots(4, 1, paired, rows, words, x, y, y_row, z, c_row);
          else group_dots(1, 1, paired, rows, words, x, y, y_row, z, c_row);
        }
      }
    }
  }
  return done;
}
#endif

INLINE void dot_rows_of(cpu_float_type type, size_t m, size_t n, const float *a, ptrdiff_t a_head,
                        ptrdiff_t a_row, head_rows b, float *c, ptrdiff_t c_head,
                        ptrdiff_t c_row) {
  const size_t k = b.width;
  size_t j = 0;
#if VECTOR_BYTES == 64
  j = dot_groups(type, m, n, a, a_head, a_row, b, c, c_head, c_row);
#endif
  for (; j < n; j++)
    for (size_t h = 0; h < b.heads; h++) {
      prefetch_share(type, b, h, j, 1);
      const void *y = row_at(type, b.b, (ptrdiff_t)h * b.head + (ptrdiff_t)j * b.row);
      for (size_t i = 0; i < m; i++) {
        const float *x = a + (ptrdiff_t)h * a_head + (ptrdiff_t)i * a_row;
        vf sum = {0};
        size_t p = 0;
        for (; p + LANES <= k; p += LANES) sum += v_load(x + p) * v_load_as(type, y, p);
        float total = v_sum(sum);
        for (; p < k; p++) total += x[p] * load_as(type, y, p);
        c[(ptrdiff_t)h * c_head + (ptrdiff_t)i * c_row + (ptrdiff_t)j] = total;
      }
    }
}

static void dot_rows(cpu_float_type type, size_t heads, size_t m, size_t n, size_t k,
                     const float *a, ptrdiff_t a_head, ptrdiff_t a_row, const void *b,
                     ptrdiff_t b_head, ptrdiff_t b_row, float *c, ptrdiff_t c_head,
                     ptrdiff_t c_row) {
  if (k == 0) {
    for (size_t h = 0; h < heads; h++)
      for (size_t i = 0; i < m; i++)
        memset(c + (ptrdiff_t)h * c_head + (ptrdiff_t)i * c_row, 0, n * sizeof(float));
    return;
  }
  head_rows rows = {b, b_head, b_row, heads, k};
  if (type == CPU_F32) dot_rows_of(CPU_F32, m, n, a, a_head, a_row, rows, c, c_head, c_row);
  else if (type == CPU_BF16) dot_rows_of(CPU_BF16, m, n, a, a_head, a_row, rows, c, c_head, c_row);
  else dot_rows_of(CPU_F16, m, n, a, a_head, a_row, rows, c, c_head, c_row);
}
