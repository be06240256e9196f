import AttentionCPUKernels

extension DType {
  /// This type's name in the C kernels; nil if they do not read it.
  public var floatType: cpu_float_type? {
    switch self {
    case .float32: CPU_F32
    case .bfloat16: CPU_BF16
    case .float16: CPU_F16
    case .float64, .int32, .int64, .bool: nil
    }
  }
}

extension Tensor {
  /// The elements converted to `dtype`: rounded to nearest even between floating-point types, truncated
  /// and clamped to the range for integers (NaN becomes 0), true if not zero for bool.
  ///
  /// The gradient is converted back.
  public func cast(to dtype: DType) throws -> Tensor {
    if dtype == self.dtype { return self }
    let own = self.dtype
    let result =
      try isPlaceholder
      ? .placeholder(shape, dtype: dtype, device: device)
      : device == .cpu ? detached().converted(to: dtype) : castOnDevice(to: dtype)
    guard own.isFloatingPoint else { return result }
    return result.recorded(from: [self]) { gradient, _ in [try gradient.cast(to: own)] }
  }

  private func converted(to dtype: DType) throws -> Tensor {
    let source = try contiguous()
    return try Tensor.filling(shape, dtype: dtype) { target in
      try source.withUnsafeRawPointer {
        convert($0, self.dtype, target, dtype, count: elementCount)
      }
    }
  }
}

private func convert(
  _ source: UnsafeRawPointer, _ from: DType, _ target: UnsafeMutableRawPointer, _ to: DType,
  count: Int
) {
  let kernels = InstructionSet.current.kernels
  Threads.forEachRows(count, width: 1) { block in
    let (start, length) = (block.lowerBound, block.count)
    let x = source + start * from.size
    let y = target + start * to.size
    if from == .float32, let half = to.floatType {
      kernels.narrow(half, length, x.assumingMemoryBound(to: Float.self), y)
    } else if to == .float32, let half = from.floatType {
      kernels.widen(half, length, x, y.assumingMemoryBound(to: Float.self))
    } else {
      convertSlowly(x, from, y, to, length)
    }
  }
}

/// Conversions off the hot paths, through the wider of float64 and int64.
private func convertSlowly(
  _ source: UnsafeRawPointer, _ from: DType, _ target: UnsafeMutableRawPointer, _ to: DType,
  _ count: Int
) {
  func read<T>(_ type: T.Type, _ index: Int) -> T {
    source.assumingMemoryBound(to: T.self)[index]
  }
  func write<T>(_ value: T, _ index: Int) {
    target.assumingMemoryBound(to: T.self)[index] = value
  }
  for index in 0..<count {
    let integer: Int64
    let real: Double
    switch from {
    case .float32: (real, integer) = (Double(read(Float.self, index)), 0)
    case .float64: (real, integer) = (read(Double.self, index), 0)
    case .float16: (real, integer) = (Double(read(Float16.self, index)), 0)
    case .bfloat16: (real, integer) = (Double(read(BFloat16.self, index).float), 0)
    case .int32: (real, integer) = (0, Int64(read(Int32.self, index)))
    case .int64: (real, integer) = (0, read(Int64.self, index))
    case .bool: (real, integer) = (0, read(UInt8.self, index) != 0 ? 1 : 0)
    }
    let isReal = from.isFloatingPoint
    switch to {
    case .float32: write(isReal ? Float(real) : Float(integer), index)
    case .float64: write(isReal ? real : Double(integer), index)
    case .float16: write(isReal ? Float16(real) : Float16(Float(integer)), index)
    case .bfloat16: write(BFloat16(isReal ? real : Double(integer)), index)
    case .int32:
      write(Int32(clamping: isReal ? clamped(real) : integer), index)
    case .int64: write(isReal ? clamped(real) : integer, index)
    case .bool: write(isReal ? real != 0 : integer != 0, index)
    }
  }
}

/// `value` truncated and clamped to Int64; NaN becomes 0.
private func clamped(_ value: Double) -> Int64 {
  if value.isNaN { return 0 }
  if value >= 0x1p63 { return .max }
  if value < -0x1p63 { return .min }
  return Int64(value)
}
