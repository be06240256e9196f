import SwiftAttention

extension Tensor {
  func squaredReLU() throws -> Tensor {
    guard dtype == .float32, device == .cpu else {
      throw TensorError.invalidArgument(
        "x", was: "\(dtype.rawValue) on \(device)", mustBe: "float32 on cpu")
    }
    let x = try detached().contiguous()
    let y = try Tensor.filling(shape, as: Float.self) { y in
      try x.withUnsafePointer(to: Float.self) { x in
        for i in 0..<elementCount {
          let positive = max(0, x[i])
          y[i] = positive * positive
        }
      }
    }
    return y.recorded(from: [self]) { gradient, history in
      [try gradient * history.input(0, x).relu() * 2]
    }
  }
}

extension Tensor {
  func squaredReLUInOnePass() throws -> Tensor {
    let x = try detached().contiguous()
    let count = elementCount
    return try x.squaredReLU().recorded(from: [self]) { gradient, history in
      if history.isRecorded {
        return try history.gradients(at: [x], seed: gradient) { try $0[0].relu().squared() }
      }
      let gradient = try gradient.contiguous()
      let product = try Tensor.filling(x.shape, as: Float.self) { product in
        try x.withUnsafePointer(to: Float.self) { x in
          try gradient.withUnsafePointer(to: Float.self) { gradient in
            for i in 0..<count { product[i] = 2 * max(0, x[i]) * gradient[i] }
          }
        }
      }
      return [product]
    }
  }
}

/// The program of Tensors's article OwnOperation.
enum OwnOperation {
  static func run() throws {
    let x = try Tensor([-1, 0.5, 2] as [Float]).tracked()
    let y = try x.squaredReLU()
    print(try y.elements(as: Float.self))  // [0.0, 0.25, 4.0]
    let slope = try y.sum().gradients(of: [x], areDifferentiable: true)[0]
    print(try slope.elements(as: Float.self))  // [0.0, 1.0, 4.0]
    let curvature = try slope.sum().gradients(of: [x])[0]
    print(try curvature.elements(as: Float.self))  // [0.0, 2.0, 2.0]

    let step: Float = 0.01
    let above = try Tensor([-1 + step, 0.5 + step, 2 + step]).squaredReLU()
    let below = try Tensor([-1 - step, 0.5 - step, 2 - step]).squaredReLU()
    let difference = try (above - below) / Double(2 * step)
    print(try difference.elements(as: Float.self))  // next to the slope

    let same = try x.squaredReLUInOnePass().sum().gradients(of: [x], areDifferentiable: true)[0]
    let sameCurvature = try same.sum().gradients(of: [x])[0]
    let constant = try x.squaredReLUInOnePass().sum().gradients(of: [x])[0]

    try check(slope, [0, 1, 4], within: 0)
    try check(difference, [0, 1, 4], within: 1e-3)
    for gradient in [same, constant] { try check(gradient, [0, 1, 4], within: 0) }
    for second in [curvature, sameCurvature] { try check(second, [0, 2, 2], within: 0) }
  }

  private static func check(_ tensor: Tensor, _ expected: [Float], within error: Float) throws {
    for (number, right) in zip(try tensor.elements(as: Float.self), expected) {
      guard abs(number - right) <= error else { throw ProgramError("\(number) is not \(right)") }
    }
  }
}
