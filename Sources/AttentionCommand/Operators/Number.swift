/// Numbers as options of the tool, read with an error that says which are valid.
enum Number {
  static func whole(_ argument: String) throws -> Int {
    try read(argument, mustBe: "a whole number")
  }

  static func real(_ argument: String) throws -> Double {
    try read(argument, mustBe: "a number")
  }

  static func seed(_ argument: String) throws -> UInt64 {
    try read(argument, mustBe: "a whole number from 0 to \(UInt64.max)")
  }

  private static func read<N: LosslessStringConvertible>(
    _ argument: String, mustBe: String
  ) throws -> N {
    guard let number = N(argument) else { throw CommandError("it must be \(mustBe)") }
    return number
  }
}
