/// The layers that hybrid language models are built from.
public enum LayersModule {}
