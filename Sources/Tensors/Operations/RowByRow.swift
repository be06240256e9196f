/// Matrix products on the CPU whose rows have the same bits however many rows there are.
///
/// Products of few rows read the right operand in place, those of more rows pack it first, and the two add in
/// different orders. Sequences that are decoded together must not notice each other, so their products compute
/// each row as if it were alone; the right operand still comes from memory once for all of them.
public enum RowByRow {
  @TaskLocal package static var isOn = false

  /// Calls `body`; the products that it starts on this thread are row by row.
  public static func products<R>(_ body: () throws -> R) rethrows -> R {
    try $isOn.withValue(true) { try body() }
  }
}
