/// The axes of operands of one shape and different strides, with adjacent axes merged where that is possible
/// in every operand and axes of extent one left out.
struct MergedAxes: Hashable {
  /// Outermost first.
  var extents: [Int] = []
  /// One array per operand.
  var strides: [[Int]]

  init(shape: Shape, strides: [[Int]]) {
    self.strides = [[Int]](repeating: [], count: strides.count)
    for axis in 0..<shape.rank where shape[axis] != 1 {
      let isEven =
        !extents.isEmpty
        && strides.indices.allSatisfy {
          self.strides[$0][extents.count - 1] == strides[$0][axis] * shape[axis]
        }
      if isEven {
        extents[extents.count - 1] *= shape[axis]
        for operand in strides.indices {
          self.strides[operand][extents.count - 1] = strides[operand][axis]
        }
      } else {
        extents.append(shape[axis])
        for operand in strides.indices { self.strides[operand].append(strides[operand][axis]) }
      }
    }
  }
}
