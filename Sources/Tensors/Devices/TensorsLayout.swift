import AttentionCUDAKernels

/// How a kernel goes through operands of one shape and different strides.
extension TensorsLayout {
  static let threads = 256

  /// - Parameters:
  ///   - shape: that of all operands.
  ///   - strides: of each operand, in elements; at most four.
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if more than eight axes are left when
  ///   those that all operands walk evenly are merged.
  init(shape: Shape, strides: [[Int]]) throws {
    var axes = MergedAxes(shape: shape, strides: strides)
    guard axes.extents.count <= tensors_outer_limit + 1 else {
      throw TensorError.invalidArgument(
        "shape", was: "\(shape)",
        mustBe:
          "of at most \(tensors_outer_limit + 1) axes on a GPU, those walked evenly counted once"
      )
    }
    self.init()
    length = 1
    if let last = axes.extents.popLast() {
      length = Int64(last)
      withUnsafeMutableBytes(of: &steps) { steps in
        for operand in strides.indices {
          steps.elements[operand] = Int64(axes.strides[operand].removeLast())
        }
      }
    }
    rank = Int32(axes.extents.count)
    withUnsafeMutableBytes(of: &extents) { extents in
      for (axis, extent) in axes.extents.enumerated() { extents.elements[axis] = Int64(extent) }
    }
    withUnsafeMutableBytes(of: &self.strides) { places in
      for operand in strides.indices {
        for (axis, stride) in axes.strides[operand].enumerated() {
          places.elements[operand * tensors_outer_limit + axis] = Int64(stride)
        }
      }
    }
    rows = Int64(axes.extents.reduce(1, *))
    row_groups = Int64(Int(length).pieces(of: group_size))
    is_wide = rows * row_groups > Int64(Int32.max) ? 1 : 0
  }

  /// Blocks that give each group its thread.
  var blocks: Int { Int(rows * row_groups).pieces(of: Self.threads) }
}

extension UnsafeMutableRawBufferPointer {
  /// The elements of a C array, which is a tuple to Swift.
  var elements: UnsafeMutableBufferPointer<Int64> { assumingMemoryBound(to: Int64.self) }
}
