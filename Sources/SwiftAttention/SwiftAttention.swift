@_exported import AttentionLanguageModels
@_exported import AttentionLayers
@_exported import AttentionOperators
@_exported import AttentionTensors
@_exported import AttentionTokenizers
@_exported import AttentionTraining
