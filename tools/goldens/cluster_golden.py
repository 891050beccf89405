# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/cluster/: what scikit-learn and SciPy make of small experts, distances, points and texts.

    pip install scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
    python tools/goldens/cluster_golden.py tests/golden/cluster

experts.json: LoRA factors of planted families; the Gram matrices of their products and of their flattened factors,
sparsified at numpy's linear quantile; the cosine matrix after TruncatedSVD (arpack and randomized); KMeans on its rows.
linkage.json: random distances; SciPy's linkage, the labels at each number of clusters, scikit-learn's silhouettes.
points.json: points without structure; KMeans. tfidf.json: TfidfVectorizer.
"""
import json
import sys
from pathlib import Path

import numpy as np
import scipy
import sklearn
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import silhouette_samples
from sklearn.preprocessing import normalize

MADE_BY = f"scikit-learn {sklearn.__version__}, scipy {scipy.__version__}, numpy {np.__version__}"
SITES = {"down": (3, 5, 4), "q": (2, 6, 5)}  # rank, in, out
COMPONENTS = 4
SPARSITY = 0.3
TEXTS = [
    "Classify the sentiment: a great, GREAT film!",
    "classify the topic of the headline",
    "Translate to French: the film's title",
    "x y z 1 22 333 snake_case don't",
    "",
    "topic\ntopic\ttopic sentiment",
]
QUERIES = ["What is the sentiment of the film?", "unknown words only", "great great TOPIC translate to french", ""]


def write(folder, name, content):
    text = json.dumps({"made_by": MADE_BY, **content})
    (folder / name).write_text(text + "\n")
    print(f"{name}: {len(text) + 1} bytes")


def kmeans(points, clusters):
    fit = KMeans(clusters, init="k-means++", n_init=10, random_state=42).fit(points)
    return {"clusters": clusters, "labels": fit.labels_.tolist(), "inertia": float(fit.inertia_)}


def experts(folder):
    """Twelve experts, noise about one of three centres."""
    generator = np.random.default_rng(3)

    def factors():
        return {site: (generator.normal(size=(r, i)), generator.normal(size=(o, r))) for site, (r, i, o) in SITES.items()}

    centres = [factors() for _ in range(3)]
    made = []
    for n in range(12):
        noise, centre = factors(), centres[n % 3]
        made.append({site: [(c + 0.4 * e).astype(np.float32) for c, e in zip(centre[site], noise[site])]
                     for site in SITES})
    scales = [0.5 + 0.25 * n for n in range(12)]
    products = np.stack([np.concatenate([(s * b.astype(np.float64) @ a.astype(np.float64)).ravel()
                                         for a, b in expert.values()]) for s, expert in zip(scales, made)])
    flat = np.stack([np.concatenate([f.ravel() for pair in expert.values() for f in pair]) for expert in made])
    thresholds = np.array([np.quantile(np.abs(row), SPARSITY, method="linear") for row in flat])
    sparse = np.where(np.abs(flat) <= thresholds[:, None], 0, flat).astype(np.float64)
    cosines = {}
    for algorithm in ("arpack", "randomized"):
        embedding = TruncatedSVD(COMPONENTS, algorithm=algorithm, n_iter=5, n_oversamples=10, random_state=42)
        rows = normalize(embedding.fit_transform(sparse))
        cosines[algorithm] = rows @ rows.T
    write(folder, "experts.json", {
        "experts": [{site: {"a": a.tolist(), "b": b.tolist()} for site, (a, b) in expert.items()} for expert in made],
        "scales": scales, "sparsity": SPARSITY, "components": COMPONENTS, "thresholds": thresholds.tolist(),
        "products_gram": (products @ products.T).tolist(), "mttl_gram": (sparse @ sparse.T).tolist(),
        "cosine_arpack": cosines["arpack"].tolist(), "cosine_randomized": cosines["randomized"].tolist(),
        "kmeans": [kmeans(cosines["arpack"], k) for k in (2, 3, 4)],
    })


def linkages(folder):
    generator = np.random.default_rng(4)
    points = generator.normal(size=(24, 3))
    euclidean = np.linalg.norm(points[:, None] - points[None], axis=2)
    out = {"distance": euclidean.tolist(), "methods": {}}
    for method in ("average", "complete", "single", "ward"):
        merges = linkage(squareform(euclidean, checks=False), method)
        labels = {}
        for k in (2, 3, 5, 9):
            model = AgglomerativeClustering(k, linkage=method, metric="euclidean" if method == "ward" else "precomputed")
            labels[k] = model.fit_predict(points if method == "ward" else euclidean).tolist()
        out["methods"][method] = {"merges": merges.tolist(), "labels": labels, "silhouettes": {
            k: silhouette_samples(euclidean, cluster, metric="precomputed").tolist() for k, cluster in labels.items()}}
    write(folder, "linkage.json", out)


def points(folder):
    made = np.random.default_rng(5).normal(size=(40, 3))
    write(folder, "points.json", {"points": made.tolist(), "kmeans": [kmeans(made, k) for k in (2, 5, 9)]})


def tfidf(folder):
    cases = []
    for largest in (1, 2):
        vectorizer = TfidfVectorizer(ngram_range=(1, largest))
        rows = vectorizer.fit_transform(TEXTS)
        cases.append({"bigrams": largest == 2, "terms": vectorizer.get_feature_names_out().tolist(),
                      "idf": vectorizer.idf_.tolist(), "rows": rows.toarray().tolist(),
                      "queries": vectorizer.transform(QUERIES).toarray().tolist()})
    write(folder, "tfidf.json", {"texts": TEXTS, "queries": QUERIES, "cases": cases})


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    print(MADE_BY)
    for make in (experts, linkages, points, tfidf):
        make(folder)


if __name__ == "__main__":
    main()
