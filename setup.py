"""The distribution: two packages that share nothing but the dataset directory.

Each has an extra with what it needs beyond the base, so that a machine that trains needs no Beam.
"""

from pathlib import Path

from setuptools import Extension, find_packages, setup

# The container images have no README.md.
README = Path(__file__).with_name("README.md")

PIPELINE = [
    "apache-beam>=2.77,<2.78",
    "google-auth>=2",
    "grpcio>=1.60",
    "pyarrow>=14.0.1",
    "tensorflow-metadata>=1.21,<1.22",
    "tensorflow-transform>=1.21,<1.22",
    "tfx-bsl>=1.21,<1.22",
]
TRAINER = [
    "keras>=3.12,<4",
    "plotly>=6,<8",
    "tensorboard>=2.20,<3",  # tf.summary fails without it, and TensorFlow no longer requires it
]

# The training step on a CPU. If there is no C compiler, the installation goes on without it, and the trainer uses
# TensorFlow's operations instead.
FUSED = Extension(
    "trainer.fused.compiled",
    sources=[f"trainer/fused/{name}.c" for name in ("step", "avx512", "avx2", "plain")],
    depends=["trainer/fused/step.h", "trainer/fused/block.h"],
    extra_compile_args=["-O3", "-pthread", "-Wno-psabi"],
    extra_link_args=["-pthread"],
    optional=True,
)

setup(
    name="word2vec-beam",
    version="0.1.0",
    description="Skip-gram word2vec: an Apache Beam pipeline and a Keras trainer",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    keywords=["word2vec", "skip-gram", "word embeddings", "apache beam", "keras", "tensorflow"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Text Processing :: Linguistic",
        "Typing :: Typed",
    ],
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["pipeline", "pipeline.*", "trainer", "trainer.*"]),
    package_data={
        "pipeline": ["py.typed"],
        "trainer": ["py.typed"],
        "trainer.report": ["page.*"],
        "trainer.fused": ["*.c", "*.h"],
    },
    ext_modules=[FUSED],
    entry_points={
        "console_scripts": [
            "word2vec-pipeline = pipeline.__main__:command",
            "word2vec-train = trainer.task:console_script",
            "word2vec-neighbors = trainer.neighbors:command",
            "word2vec-evaluate = trainer.evaluate:command",
            "word2vec-report = trainer.report.__main__:command",
        ],
    },
    install_requires=[
        "numpy>=1.26",
        "protobuf>=5",
        "psutil>=6",
        "rich>=13",
        "tensorflow>=2.21,<2.22",
    ],
    extras_require={
        "pipeline": PIPELINE,
        "gcp": ["apache-beam[gcp]>=2.77,<2.78"],  # tensorflow-transform happens to bring it as well
        "trainer": TRAINER,
        "gpu": ["tensorflow[and-cuda]>=2.21,<2.22"],
        "all": [*PIPELINE, *TRAINER],
        "test": [
            "gensim>=4.4,<5",
            "hypothesis>=6.100",
            "mypy>=2.4,<3",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff",
            "safetensors>=0.4",
            "selenium>=4.40,<5",
            "tokenizers>=0.22,<0.24",
            "zstandard>=0.22",
        ],
        "bench": ["faiss-cpu>=1.10,<2", "gensim>=4.4,<5", "hnswlib>=0.8,<0.9"],
    },
)
