import java.util.Map;
import org.tensorflow.SavedModelBundle;
import org.tensorflow.ndarray.NdArrays;
import org.tensorflow.types.TFloat32;
import org.tensorflow.types.TInt32;
import org.tensorflow.types.TString;

/** Calls the signatures of a SavedModel for a word. Prints its vector, and its three neighbours with their cosines. */
class Serve {
  public static void main(String[] arguments) {
    try (SavedModelBundle model = SavedModelBundle.load(arguments[0], "serve");
        TString asked = TString.tensorOf(NdArrays.vectorOfObjects(arguments[1]));
        TInt32 k = TInt32.vectorOf(3);
        var vectors = model.function("serving_default").call(Map.of("text", asked));
        var nearest = model.function("nearest").call(Map.of("words", asked, "k", k))) {
      ((TFloat32) vectors.get("vectors").get()).scalars().forEach(each -> System.out.println(each.getFloat()));
      ((TString) nearest.get("words").get()).scalars().forEach(each -> System.out.println(each.getObject()));
      ((TFloat32) nearest.get("cosines").get()).scalars().forEach(each -> System.out.println(each.getFloat()));
    }
  }
}
