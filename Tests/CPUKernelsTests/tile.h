// Loops over tiles of scores `s`, rows of `columns` at `stride`, with a copy of the original scores.
#pragma once

static const size_t tile_rows[] = {1, 2, 5, 17};
#define FOR_TILES(rows, columns) FOR_EACH(rows, tile_rows) FOR_LENGTHS(columns)

// Starts a case of a tile with random scores.
#define BEGIN_TILE(format, ...)                                                               \
  begin("rows %zu, columns %zu" format, rows, columns, __VA_ARGS__);                          \
  size_t stride = columns + 3;                                                                \
  float *s = random_rows(rows, columns, stride, -12, 12);                                     \
  const float *before = copy(s, (rows - 1) * stride + columns)

#define FOR_TILE(r, j)             \
  for (size_t r = 0; r < rows; r++) \
    for (size_t j = 0; j < columns; j++)
#define S(r, j) ((double)s[(r) * stride + (j)])
#define BEFORE(r, j) ((double)before[(r) * stride + (j)])
