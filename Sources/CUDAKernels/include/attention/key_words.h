#pragma once

#include "tile/parameters.h"

// attention/key_words.cu
struct AttentionKeyWordsParameters {
  DEVICE_POINTER(const unsigned char) key_mask;  // [batch, keys]
  DEVICE_POINTER(unsigned) words;                // [batch, pitch], as in AttentionKeyWords
  DEVICE_POINTER(int) kept;                      // [batch, 2]
  int keys;
  int pitch;
};

CONSTANT(key_words_threads, 1024);
CONSTANT(key_words_shared_bytes, 2 * 4);
