"""The distribution: two packages that share nothing but the dataset directory.

Each has an extra with what it needs beyond the base, so that a machine that trains needs no Beam.
"""

from setuptools import find_packages, setup

setup(
    name="word2vec-beam",
    version="0.1.0",
    description="Skip-gram word2vec: an Apache Beam pipeline and a Keras trainer",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["pipeline", "pipeline.*", "trainer"]),
    install_requires=[
        "numpy>=1.26",
        "tensorflow>=2.21,<2.22",
    ],
    extras_require={
        "pipeline": [
            "apache-beam>=2.77,<2.78",
            "google-auth>=2",
            "pyarrow>=14.0.1",
            "tensorflow-metadata>=1.21,<1.22",
            "tensorflow-transform>=1.21,<1.22",
            "tfx-bsl>=1.21,<1.22",
        ],
        "gcp": ["apache-beam[gcp]>=2.77,<2.78"],  # tensorflow-transform happens to bring it as well
        "trainer": [
            "keras>=3.12,<4",
            "tensorboard>=2.20,<3",  # tf.summary fails without it, and TensorFlow no longer requires it
        ],
        "gpu": ["tensorflow[and-cuda]>=2.21,<2.22"],
        "test": ["gensim>=4.4,<5", "hypothesis>=6.100", "pytest>=8", "pytest-xdist>=3.6", "ruff"],
        "bench": ["gensim>=4.4,<5"],
    },
)
