/// The largest elements of rows, in descending order.
public struct TopElements: Sendable {
  /// [..., k], in the rows' dtype.
  public let values: Tensor
  /// Their indices in the rows, int32 [..., k].
  public let indices: Tensor
}

extension Tensor {
  /// The index of the largest element along `axis`, int32, without that axis. The first of equal elements
  /// wins; NaN counts as larger than everything.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if there is no such axis or it is empty.
  public func argmax(_ axis: Int) throws -> Tensor {
    let axis = try shape.resolve(axis: axis)
    guard 1...Int(Int32.max) ~= shape[axis] else {
      throw TensorError.invalidArgument(
        "axis", was: "\(axis) of \(shape)", mustBe: "of an extent in 1...\(Int32.max)")
    }
    var order = Array(0..<rank)
    order.append(order.remove(at: axis))
    let rows = try detached().permuted(order)
    if device != .cpu { return try rows.largestPlacesByHalving() }
    return try rows.largestPlaces(1).squeezed(-1)
  }

  /// The `count` largest elements of each row of the last axis and their indices, [..., n] → two tensors
  /// [..., count], in descending order, equal elements in the order of the row. NaN counts as larger than
  /// everything. The gradient of the values flows back to their elements.
  ///
  /// - Throws: ``TensorError/invalidArgument(_:was:mustBe:)`` if rows are shorter, there are more than
  ///   2³¹ − 1 elements, or the tensor is on a GPU.
  public func topK(_ count: Int) throws -> TopElements {
    guard rank >= 1, 0...shape[rank - 1] ~= count, elementCount <= Int(Int32.max) else {
      throw TensorError.invalidArgument(
        "count", was: "\(count) of \(shape)",
        mustBe: "at most the last extent, and the elements at most \(Int32.max)")
    }
    guard device == .cpu else {
      throw TensorError.invalidArgument(
        "device of topK", was: "\(device)", mustBe: "cpu; moved(to:) copies the tensor")
    }
    let n = shape[rank - 1]
    let indices = try detached().largestPlaces(count)
    let rows = indices.elementCount / Swift.max(1, count)
    let firsts = try Tensor((0..<rows).map { Int32($0 * n) }, [rows, 1])
    let places = try indices.reshaped([rows, count]) + firsts
    let values = try reshaped([elementCount, 1]).gatheringRows(places).reshaped(indices.shape)
    return TopElements(values: values, indices: indices)
  }

  /// The indices of the `count` largest elements of each row.
  private func largestPlaces(_ count: Int) throws -> Tensor {
    switch dtype {
    case .float64:
      return try largestPlaces(count, of: Double.self) { $0 > $1 || ($0 != $0 && $1 == $1) }
    case .float32, .bfloat16, .float16:
      return try cast(to: .float32).largestPlaces(count, of: Float.self) {
        $0 > $1 || ($0 != $0 && $1 == $1)
      }
    case .int32, .int64, .bool:
      return try cast(to: .int64).largestPlaces(count, of: Int64.self, isLarger: >)
    }
  }

  private func largestPlaces<T: Scalar>(
    _ count: Int, of type: T.Type, isLarger: (T, T) -> Bool
  ) throws -> Tensor {
    let source = try contiguous()
    let n = shape[rank - 1]
    let rows = count == 0 ? 0 : shape.dropLast().reduce(1, *)
    // Insertion is quadratic in the number of elements kept.
    let mostInserted = 64
    return try Tensor.filling(Shape(shape.dropLast() + [count]), as: Int32.self) { places in
      try source.withUnsafePointer(to: T.self) { x in
        Threads.forEachRows(rows, width: n) { block in
          for row in block {
            let x = x + row * n
            let best = UnsafeMutableBufferPointer(start: places + row * count, count: count)
            guard count <= mostInserted else {
              let sorted = (0..<n).sorted {
                isLarger(x[$0], x[$1]) || ($0 < $1 && !isLarger(x[$1], x[$0]))
              }
              for (place, index) in sorted.prefix(count).enumerated() { best[place] = Int32(index) }
              continue
            }
            var found = 0
            for place in 0..<n {
              // Inserted after all elements that are at least as large; the smallest drops out.
              var rank = found
              while rank > 0, isLarger(x[place], x[Int(best[rank - 1])]) { rank -= 1 }
              guard rank < count else { continue }
              found = Swift.min(found + 1, count)
              for next in stride(from: found - 1, to: rank, by: -1) { best[next] = best[next - 1] }
              best[rank] = Int32(place)
            }
          }
        }
      }
    }
  }

  /// ``argmax(_:)`` of the last axis by elementary operations: a tournament between neighbours.
  private func largestPlacesByHalving() throws -> Tensor {
    var values = dtype == .bool ? try cast(to: .int32) : self
    var places = try Tensor.range(shape[rank - 1], device: device).expanded(to: shape)
    while values.shape[rank - 1] > 1 {
      let extent = values.shape[rank - 1]
      let pairs = extent / 2
      func side(_ tensor: Tensor, _ number: Int) throws -> Tensor {
        try tensor.sliced(-1, 0..<2 * pairs)
          .reshaped(Shape(tensor.shape.dropLast() + [pairs, 2])).selected(-1, number)
      }
      func winners(_ tensor: Tensor, _ isSecond: Tensor) throws -> Tensor {
        let chosen = try Tensor.select(isSecond, side(tensor, 1), side(tensor, 0))
        return try extent % 2 == 0
          ? chosen : .concatenated([chosen, tensor.sliced(-1, extent - 1..<extent)], -1)
      }
      let (first, second) = (try side(values, 0), try side(values, 1))
      // The second wins if it is larger, or if it is NaN and the first is a number.
      let isNumber = try second.isEqual(to: second)
      let isLarger = try Tensor.select(
        isNumber, second.isGreater(than: first), first.isEqual(to: first))
      (values, places) = (try winners(values, isLarger), try winners(places, isLarger))
    }
    return try places.squeezed(-1)
  }
}
