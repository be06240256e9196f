import AttentionOperators
import AttentionTensors

/// What is computed of the tensors of `linear`: the operator, or a function over it that its own
/// tensors or flags ask for.
enum LinearForm {
  case attention(LinearUpdate)
  /// Weights that sum to one.
  case normalized
  /// Gated slot attention, with how much each slot takes of a token.
  case slots(Tensor)
  /// Log-linear attention, with the weights of the buckets.
  case levels(Tensor)

  /// - Throws: ``CommandError`` if tensors and flags ask for two, or for what a form does not have.
  init(_ inputs: NamedTensors, _ flags: OperatorFlags) throws {
    let update = try inputs.linearUpdate()
    var asked: [(name: String, form: LinearForm, excludes: [String])] = []
    if flags.normalizesWeights {
      asked.append(("--normalize-weights", .normalized, InputName.updates))
    }
    if let slots = inputs["slots"] { asked.append(("slots", .slots(slots), InputName.updates)) }
    if let levels = inputs["levels"] {
      asked.append(
        (
          "levels", .levels(levels),
          InputName.updates + ["initial_state", "cumulative_lengths", "final_state_gradient"]
        ))
    }
    guard let first = asked.first else {
      self = .attention(update)
      return
    }
    var others = asked.dropFirst().map(\.name) + first.excludes.filter { inputs[$0] != nil }
    if flags.normalizesQueriesAndKeys { others.append("--l2norm") }
    if flags.normalizesWeights, flags.scale != nil { others.append("--scale") }
    guard others.isEmpty else {
      throw CommandError("\(first.name) does not go with \(others.joined(separator: " and "))")
    }
    self = first.form
  }
}
