import AttentionTensors

/// One tensor that `attention run` reads: its name in the file, what it is, and who takes it.
struct InputName {
  enum Kind {
    case floatingPoint, floatingPointOrBool, bool, int32

    func accepts(_ dtype: DType) -> Bool {
      switch self {
      case .floatingPoint: dtype.isFloatingPoint
      case .floatingPointOrBool: dtype.isFloatingPoint || dtype == .bool
      case .bool: dtype == .bool
      case .int32: dtype == .int32
      }
    }

    var description: String {
      switch self {
      case .floatingPoint: "float32, bfloat16, float16 or float64"
      case .floatingPointOrBool: "float32, bfloat16, float16, float64 or bool"
      case .bool: "bool"
      case .int32: "int32"
      }
    }

    /// The same in a word or two, for help.
    var summary: String {
      switch self {
      case .floatingPoint: "float"
      case .floatingPointOrBool: "float or bool"
      case .bool, .int32: description
      }
    }
  }

  let name: String
  let shape: String
  let kind: Kind
  let purpose: String
  var isRequired = false

  /// The names that `operation` takes, in the order in which help lists them.
  static func all(of operation: OperatorName) -> [InputName] {
    switch operation {
    case .softmax, .cosine: exact
    case .linear: linear
    case .scan: scan
    }
  }

  /// Whether any operator has a tensor of this name.
  static func isTensor(_ name: String) -> Bool {
    [exact, linear, scan].contains { $0.contains { $0.name == name } }
  }

  private static let exact = [
    InputName(
      name: "queries", shape: "[b,t,h,k]", kind: .floatingPoint, purpose: "", isRequired: true),
    InputName(
      name: "keys", shape: "[b,s,hk,k]", kind: .floatingPoint, purpose: "hk divides h",
      isRequired: true),
    InputName(
      name: "values", shape: "[b,s,hk,v]", kind: .floatingPoint, purpose: "", isRequired: true),
    InputName(
      name: "bias", shape: "broadcasts to [b,h,t,s]", kind: .floatingPointOrBool,
      purpose: "added after scaling; of bool, true where a key may be attended"),
    InputName(
      name: "key_mask", shape: "[b,s]", kind: .bool, purpose: "true where a key may be attended"),
    InputName(
      name: "scale", shape: "[h]", kind: .floatingPoint,
      purpose: "a scale a head, in place of --scale"),
    InputName(
      name: "logit_decay", shape: "[b,t,h]", kind: .floatingPoint,
      purpose: "adds c_i - c_j to the logits, c the running sum"),
    InputName(
      name: "sinks", shape: "[h]", kind: .floatingPoint,
      purpose: "one more logit in the softmax's sum, without a value"),
    cumulativeLengths,
    outputGradient,
  ]

  private static let linear = [
    InputName(
      name: "queries", shape: "[b,t,h,k]", kind: .floatingPoint, purpose: "", isRequired: true),
    InputName(
      name: "keys", shape: "[b,t,h,k]", kind: .floatingPoint, purpose: "", isRequired: true),
    InputName(
      name: "values", shape: "[b,t,hv,v]", kind: .floatingPoint,
      purpose: "h divides hv; value head j reads query head j / (hv/h)", isRequired: true),
    InputName(
      name: "decay", shape: "[hv], [b,t,hv] or [b,t,hv,k]", kind: .floatingPoint,
      purpose: "natural logarithm, at most 0"),
    InputName(
      name: "beta", shape: "[b,t,hv]", kind: .floatingPoint,
      purpose: "delta rule: S += beta k (v - S^T k)^T, S decayed"),
    InputName(
      name: "read_keys", shape: "[b,t,hv,k]", kind: .floatingPoint,
      purpose: "generalised delta rule: S += k (v - S^T y)^T, S decayed"),
    InputName(
      name: "low_rank_a", shape: "[b,t,hv,k]", kind: .floatingPoint,
      purpose: "with low_rank_b: S += b (a^T S')^T + k v^T, S' before its decay"),
    InputName(
      name: "low_rank_b", shape: "[b,t,hv,k]", kind: .floatingPoint, purpose: "with low_rank_a"),
    InputName(
      name: "bonus", shape: "[hv,k]", kind: .floatingPoint,
      purpose: "queries read S' + diag(bonus) k v^T, S' before its decay"),
    InputName(
      name: "slots", shape: "[b,t,h,m]", kind: .floatingPoint,
      purpose: "gated slot attention: what m slots take of a token; decay [b,t,h,m]"),
    InputName(
      name: "levels", shape: "[b,t,hv,levels]", kind: .floatingPoint,
      purpose: "log-linear attention: the weights of a token's buckets"),
    InputName(
      name: "initial_state", shape: "[n,hv,k,v]", kind: .floatingPoint,
      purpose: "n is b, or the number of packed sequences; with slots [n,h,m,k]; not with levels"),
    InputName(
      name: "initial_value_state", shape: "[n,h,m,v]", kind: .floatingPoint,
      purpose: "with slots"),
    cumulativeLengths,
    outputGradient,
    finalStateGradient,
  ]

  private static let scan = [
    InputName(
      name: "inputs", shape: "[b,t,d]", kind: .floatingPoint, purpose: "x", isRequired: true),
    InputName(
      name: "decay", shape: "[b,t,d]", kind: .floatingPoint,
      purpose: "natural logarithm, at most 0: h = e^decay h + x"),
    InputName(
      name: "step", shape: "[b,t,d]", kind: .floatingPoint,
      purpose: "in place of decay, with the next three: h = e^(step A) h + step x B"),
    InputName(
      name: "state_matrix", shape: "[d,s]", kind: .floatingPoint, purpose: "A, negative"),
    InputName(name: "input_matrix", shape: "[b,t,s]", kind: .floatingPoint, purpose: "B"),
    InputName(
      name: "output_matrix", shape: "[b,t,s]", kind: .floatingPoint,
      purpose: "C: the output is C h + D x"),
    InputName(name: "skip", shape: "[d]", kind: .floatingPoint, purpose: "with step: D"),
    InputName(
      name: "step_bias", shape: "[d]", kind: .floatingPoint,
      purpose: "added to the step, before --softplus"),
    InputName(
      name: "initial_state", shape: "[n,d], with step [n,d,s]", kind: .floatingPoint,
      purpose: "n is b, or the number of packed sequences"),
    cumulativeLengths,
    outputGradient,
    finalStateGradient,
  ]

  private static let cumulativeLengths = InputName(
    name: "cumulative_lengths", shape: "[n+1]", kind: .int32, purpose: "packed sequences, b is 1")

  private static let finalStateGradient = InputName(
    name: "final_state_gradient", shape: "as final_state", kind: .floatingPoint,
    purpose: "with --gradients")

  private static let outputGradient = InputName(
    name: "output_gradient", shape: "as output", kind: .floatingPoint, purpose: "with --gradients")

  /// Names that say how a token changes the state of linear attention.
  static let updates = ["beta", "read_keys"] + lowRank + ["bonus"]
  /// Those of a diagonal plus a low rank, which go together.
  static let lowRank = ["low_rank_a", "low_rank_b"]

  /// Names that a selective scan has, those it must have first.
  static let selective = selectiveRequired + ["skip", "step_bias"]
  static let selectiveRequired = ["step", "state_matrix", "input_matrix", "output_matrix"]

  /// The tables of all families, for help.
  static var help: String {
    let sections: [(String, [InputName])] = [
      ("softmax, cosine", exact), ("linear", linear), ("scan", scan),
    ]
    return sections.map { title, inputs in
      var table = TextTable([title: .left, "shape": .left, "dtype": .left, "for": .left])
      for input in inputs {
        table.append([
          input.name, input.shape, input.kind.summary,
          input.isRequired
            ? ["required", input.purpose].filter { !$0.isEmpty }.joined(separator: "; ")
            : input.purpose,
        ])
      }
      return table.lines().joined(separator: "\n")
    }.joined(separator: "\n\n")
  }
}
