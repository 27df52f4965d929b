"""Parameters that others published, and mild ones; a variant is `dataclasses.replace(deeplab_v2(), threads=1)`.

Standard deviations of colours are in units of 0..255, those of positions in pixels of the image the CRF runs on. The
same weights mean more or less with another normalisation: those of DeepLab v1 and CRF-as-RNN belong to "after", those
of PyDenseCRF and of what was tuned with it to "symmetric".
"""

from __future__ import annotations

from atrous.crf.dense_crf import DenseCRF


def deeplab_v1() -> DenseCRF:
    """DeepLab v1's: the values of the authors' scripts, within the ranges that the paper searched.

    The paper fixes w2 and sigma_gamma at 3 and 10 iterations, and searches w1 in 5..10, sigma_alpha in 50..100 and
    sigma_beta in 3..10; the scripts have 5, 50 and 3.

    Source: Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs", ICLR 2015
    (arXiv 1412.7062) section 5; the authors' run_densecrf.sh.

    >>> deeplab_v1().normalisation
    'after'
    """
    return DenseCRF(w1=5, sigma_alpha=50, sigma_beta=3, w2=3, sigma_gamma=3, normalisation="after")


def deeplab_v2() -> DenseCRF:
    """DeepLab v2's for ResNet-101: the most used reproduction's w1 and sigmas, within the ranges of the paper.

    The paper fixes w2 and sigma_gamma at 3 and 10 iterations, and searches w1 in 3..6, sigma_alpha in 30..100 and
    sigma_beta in 3..6. The authors' script for VGG-16 has 4, 49 and 5. The reproduction has 4, 67 and 3, with the
    symmetric normalisation, and a sigma_gamma of 1, where the paper's 3 is taken here.

    Source: Chen et al., "DeepLab", TPAMI 2018 (arXiv 1606.00915) section 4.1.1; kazuto1011/deeplab-pytorch,
    configs/voc12.yaml.

    >>> deeplab_v2().sigma_alpha
    67.0
    """
    return DenseCRF(w1=4, sigma_alpha=67, sigma_beta=3, w2=3, sigma_gamma=3)


def crf_as_rnn() -> DenseCRF:
    """CRF-as-RNN's before training: what its layer's weights start from, and the sigmas that it never learns.

    10 iterations, as at test time; it is trained with 5.

    Source: Zheng et al., "Conditional Random Fields as Recurrent Neural Networks", ICCV 2015 (arXiv 1502.03240); the
    authors' prototxt files.

    >>> crf_as_rnn().sigma_alpha
    160.0
    """
    return DenseCRF(w1=5, sigma_alpha=160, sigma_beta=3, w2=3, sigma_gamma=3, normalisation="after")


def pydensecrf_example() -> DenseCRF:
    """PyDenseCRF's README's, with its example's 5 iterations: for strokes of a brush, strong for a network.

    Source: lucasb-eyer/pydensecrf, README and examples/inference.py.

    >>> pydensecrf_example().iterations
    5
    """
    return DenseCRF(w1=10, sigma_alpha=80, sigma_beta=13, w2=3, sigma_gamma=3, iterations=5)


def mild() -> DenseCRF:
    """Weak ones, for networks whose decoder finds edges itself: published values wear thin classes such as poles away.

    >>> mild().w1
    2.0
    """
    return DenseCRF(w1=2, sigma_alpha=30, sigma_beta=5, w2=1, sigma_gamma=1)
