import AttentionOperators
import AttentionTensors

extension NamedTensors {
  /// The update of linear attention that the tensors ask for; additive where none does.
  ///
  /// - Throws: ``CommandError`` if they ask for two, or give half of a low rank.
  func linearUpdate() throws -> LinearUpdate {
    let given = InputName.updates.filter { self[$0] != nil }
    let isLowRank = given.contains { InputName.lowRank.contains($0) }
    if isLowRank, let missing = InputName.lowRank.first(where: { self[$0] == nil }) {
      throw CommandError("\(missing) is missing; a low rank is low_rank_a and low_rank_b")
    }
    guard given.count <= (isLowRank ? InputName.lowRank.count : 1) else {
      throw CommandError("\(given.joined(separator: " and ")) are of different updates; give one")
    }
    if isLowRank {
      return .lowRank(a: try required("low_rank_a"), b: try required("low_rank_b"))
    }
    if let beta = self["beta"] { return .delta(beta: beta) }
    if let readKeys = self["read_keys"] { return .generalizedDelta(readKeys: readKeys) }
    if let bonus = self["bonus"] { return .additiveBefore(bonus: bonus) }
    return .additive
  }
}
