#pragma once

#include "tile/types.cuh"

// Elements in memory, read as float32 and rounded when written, four at a time: 16 bytes in float32, 8 in
// half precision.

struct f32 {
  DEVICE float widen(float number) { return number; }
};

// The storage type of an element type, and the conversion to it.
template <typename Element>
struct In {
  using Memory = u16;
  DEVICE u16 narrow(float number) { return (u16)Element::pack(number, 0); }
};

template <>
struct In<f32> {
  using Memory = float;
  DEVICE float narrow(float number) { return number; }
};

template <typename Element>
using Stored = typename In<Element>::Memory;

struct Group {
  float at[group_size];
};

template <typename T>
DEVICE bool is_whole(const T *place, i64 left) {
  return left >= group_size && (unsigned long long)place % (group_size * sizeof(T)) == 0;
}

// Reads a group at `place`, where `left` elements remain; missing ones become `filler`.
template <typename Element>
DEVICE Group read_group(const Stored<Element> *place, i64 left, float filler = 0) {
  Group group;
  if (is_whole(place, left)) {
    if constexpr (sizeof(*place) == sizeof(float)) {
      const float4 numbers = *(const float4 *)place;
      group = {numbers.x, numbers.y, numbers.z, numbers.w};
    } else {
      const uint2 pairs = *(const uint2 *)place;
      group = {Element::widen((u16)pairs.x), Element::widen((u16)(pairs.x >> 16)),
               Element::widen((u16)pairs.y), Element::widen((u16)(pairs.y >> 16))};
    }
  } else {
    for (int i = 0; i < group_size; i++) {
      group.at[i] = i < left ? Element::widen(place[i]) : filler;
    }
  }
  return group;
}

// Writes the first `left` elements of a group, at most all.
template <typename Element>
DEVICE void write_group(Stored<Element> *place, i64 left, const Group &group) {
  if (is_whole(place, left)) {
    if constexpr (sizeof(*place) == sizeof(float)) {
      *(float4 *)place = {group.at[0], group.at[1], group.at[2], group.at[3]};
    } else {
      *(uint2 *)place = {Element::pack(group.at[0], group.at[1]),
                         Element::pack(group.at[2], group.at[3])};
    }
  } else {
    for (int i = 0; i < group_size && i < left; i++) place[i] = In<Element>::narrow(group.at[i]);
  }
}

// The same for an element type chosen at run time.

DEVICE Group read_group(const void *base, int type, i64 place, i64 left) {
  switch (type) {
    case type_bf16: return read_group<bf16>((const u16 *)base + place, left);
    case type_f16: return read_group<f16>((const u16 *)base + place, left);
    default: return read_group<f32>((const float *)base + place, left);
  }
}

DEVICE void write_group(void *base, int type, i64 place, i64 left, const Group &group) {
  switch (type) {
    case type_bf16: return write_group<bf16>((u16 *)base + place, left, group);
    case type_f16: return write_group<f16>((u16 *)base + place, left, group);
    default: return write_group<f32>((float *)base + place, left, group);
  }
}

DEVICE float read_number(const void *base, int type, i64 place) {
  if (type == type_f32) return ((const float *)base)[place];
  const u16 number = ((const u16 *)base)[place];
  return type == type_bf16 ? bf16::widen(number) : f16::widen(number);
}

DEVICE void write_number(void *base, int type, i64 place, float number) {
  if (type == type_f32) {
    ((float *)base)[place] = number;
  } else {
    ((u16 *)base)[place] = type == type_bf16 ? In<bf16>::narrow(number) : In<f16>::narrow(number);
  }
}
