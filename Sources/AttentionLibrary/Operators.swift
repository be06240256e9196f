// The names are those of the C header.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import AttentionInterface
import AttentionOperators
import AttentionTensors

// --- Exact attention

@c @implementation
public func sa_attention_forward(_ call: UnsafePointer<sa_attention>!) -> sa_status {
  sa_attention.forward(call)
}

@c @implementation
public func sa_attention_backward(_ call: UnsafePointer<sa_attention>!) -> sa_status {
  sa_attention.backward(call)
}

@c @implementation
public func sa_attention_explain(
  _ call: UnsafePointer<sa_attention>!, _ text: UnsafeMutablePointer<CChar>!, _ capacity: Int,
  _ length: UnsafeMutablePointer<Int>!
) -> sa_status {
  sa_attention.explain(call, text, capacity, length)
}

extension sa_attention: OperatorStruct {
  typealias Op = ExactAttention

  static var firstInput: Int? { MemoryLayout.offset(of: \Self.queries) }
  static var firstResult: Int? { MemoryLayout.offset(of: \Self.output) }

  func options(_ inputs: OperatorTensors<ExactInput>) throws -> ExactOptions {
    guard inputs[.scale] == nil || has_scale == 0 else {
      throw AttentionError.invalidArgument(
        "has_scale", was: "\(has_scale)", mustBe: "0 where head_scales are given")
    }
    var options = ExactOptions()
    options.isCosine = try isCosine()
    options.groups = groups == 0 ? 1 : Int(groups)
    options.normalizes = is_normalized == 0
    options.scale = has_scale == 0 ? nil : scale
    options.isCausal = is_causal != 0
    options.alignment = try alignmentCase()
    options.window = window()
    options.terms = ScoreTermOptions(
      softcap: softcap == 0 ? nil : softcap, alibi: has_alibi == 0 ? nil : .standard)
    options.allowsTF32 = allows_tf32 != 0
    return options
  }

  private func isCosine() throws -> Bool {
    switch sa_similarity(UInt32(bitPattern: similarity)) {
    case SA_DOT_PRODUCT: return false
    case SA_COSINE: return true
    default:
      throw AttentionError.invalidArgument(
        "similarity", was: "\(similarity)", mustBe: "one that sa_similarity lists")
    }
  }

  private func alignmentCase() throws -> Alignment {
    switch sa_alignment(UInt32(bitPattern: alignment)) {
    case SA_BOTTOM_RIGHT: return .bottomRight
    case SA_TOP_LEFT: return .topLeft
    default:
      throw AttentionError.invalidArgument(
        "alignment", was: "\(alignment)", mustBe: "one that sa_alignment lists")
    }
  }

  private func window() -> Window? {
    /// What a field has for a side without limit.
    let all: Int64 = -1
    guard has_window != 0 else { return nil }
    return Window(
      left: window_left == all ? nil : Int(window_left),
      right: window_right == all ? nil : Int(window_right))
  }
}

// --- Linear attention

@c @implementation
public func sa_linear_attention_forward(
  _ call: UnsafePointer<sa_linear_attention>!
) -> sa_status {
  sa_linear_attention.forward(call)
}

@c @implementation
public func sa_linear_attention_backward(
  _ call: UnsafePointer<sa_linear_attention>!
) -> sa_status {
  sa_linear_attention.backward(call)
}

@c @implementation
public func sa_linear_attention_explain(
  _ call: UnsafePointer<sa_linear_attention>!, _ text: UnsafeMutablePointer<CChar>!,
  _ capacity: Int, _ length: UnsafeMutablePointer<Int>!
) -> sa_status {
  sa_linear_attention.explain(call, text, capacity, length)
}

extension sa_linear_attention: OperatorStruct {
  typealias Op = LinearAttention

  static var firstInput: Int? { MemoryLayout.offset(of: \Self.queries) }
  static var firstResult: Int? { MemoryLayout.offset(of: \Self.output) }

  func options(_ inputs: OperatorTensors<LinearInput>) throws -> LinearOptions {
    LinearOptions(
      scale: has_scale == 0 ? nil : scale, normalizesQueriesAndKeys: normalizes != 0)
  }
}

// --- Gated scan

@c @implementation
public func sa_gated_scan_forward(_ call: UnsafePointer<sa_gated_scan>!) -> sa_status {
  sa_gated_scan.forward(call)
}

@c @implementation
public func sa_gated_scan_backward(_ call: UnsafePointer<sa_gated_scan>!) -> sa_status {
  sa_gated_scan.backward(call)
}

@c @implementation
public func sa_gated_scan_explain(
  _ call: UnsafePointer<sa_gated_scan>!, _ text: UnsafeMutablePointer<CChar>!, _ capacity: Int,
  _ length: UnsafeMutablePointer<Int>!
) -> sa_status {
  sa_gated_scan.explain(call, text, capacity, length)
}

extension sa_gated_scan: OperatorStruct {
  typealias Op = GatedScan

  static var firstInput: Int? { MemoryLayout.offset(of: \Self.inputs) }
  static var firstResult: Int? { MemoryLayout.offset(of: \Self.output) }

  func options(_ inputs: OperatorTensors<GatedScanInput>) throws -> NoOptions { NoOptions() }
}
