"""Metrics of scores are scikit-learn's, whatever form scores and labels have."""

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    roc_auc_score,
    top_k_accuracy_score,
)

from adaspring.errors import DataError
from adaspring.metrics.classes import AGREEMENT, AUC, F1, MAP, TOP1, TOP5

RANDOM = np.random.default_rng(0)
COUNT = 200
LABELS = RANDOM.integers(0, 8, COUNT)
LOGITS = (RANDOM.normal(size=(COUNT, 8)) + 1.5 * np.eye(8)[LABELS]).astype(np.float32)
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
TWO = RANDOM.integers(0, 2, COUNT)
LEAD = (RANDOM.normal(size=COUNT) + 1.5 * TWO - 0.7).astype(np.float32)
MANY = RANDOM.integers(0, 2, (COUNT, 4))
MARKS = (RANDOM.normal(size=(COUNT, 4)) + 1.5 * MANY - 0.7).astype(np.float32)


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


@pytest.mark.parametrize(("metric", "k"), [(TOP1, 1), (TOP5, 5)])
@pytest.mark.parametrize("form", [LOGITS, PROBABILITIES, LOGITS[:, :, None, None]])
def test_top_k_is_scikit_learns(metric, k, form):
    wanted = top_k_accuracy_score(LABELS, LOGITS, k=k)
    assert metric.value([form], LABELS) == pytest.approx(wanted)


def test_agreement_is_the_share_of_equal_classes():
    other = LOGITS + RANDOM.normal(size=LOGITS.shape).astype(np.float32)
    wanted = np.mean(other.argmax(axis=1) == LOGITS.argmax(axis=1))
    assert AGREEMENT.value([other], [LOGITS]) == pytest.approx(wanted)
    assert AGREEMENT.value([LOGITS], [LOGITS]) == 1


@pytest.mark.parametrize("scores", [LEAD, LEAD[:, None], sigmoid(LEAD)[:, None]])
def test_one_score_for_two_classes_is_that_of_the_second(scores):
    assert AUC.value([scores], TWO) == pytest.approx(roc_auc_score(TWO, LEAD))
    assert MAP.value([scores], TWO) == pytest.approx(average_precision_score(TWO, LEAD))
    assert F1.value([scores], TWO) == pytest.approx(f1_score(TWO, LEAD > 0))


@pytest.mark.parametrize("form", ["logits", "probabilities"])
def test_two_scores_order_as_the_second_one_does(form):
    scores = np.stack([0.3 * LEAD - LEAD, 0.3 * LEAD], axis=1)
    if form == "probabilities":
        scores = np.stack([1 - sigmoid(LEAD), sigmoid(LEAD)], axis=1)
    assert AUC.value([scores], TWO) == pytest.approx(roc_auc_score(TWO, LEAD))
    assert MAP.value([scores], TWO) == pytest.approx(average_precision_score(TWO, LEAD))
    assert F1.value([scores], TWO) == pytest.approx(f1_score(TWO, LEAD > 0))


@pytest.mark.parametrize("scores", [LOGITS, PROBABILITIES])
def test_of_more_classes_each_is_judged_against_the_rest(scores):
    wanted = roc_auc_score(LABELS, PROBABILITIES, multi_class="ovr")
    assert AUC.value([scores], LABELS) == pytest.approx(wanted, rel=1e-5)
    wanted = average_precision_score(np.eye(8)[LABELS], PROBABILITIES)
    assert MAP.value([scores], LABELS) == pytest.approx(wanted, rel=1e-5)
    wanted = f1_score(LABELS, LOGITS.argmax(axis=1), average="macro")
    assert F1.value([scores], LABELS) == pytest.approx(wanted)


@pytest.mark.parametrize("scores", [MARKS, sigmoid(MARKS)])
def test_several_classes_for_a_sample_are_zeros_and_ones(scores):
    assert AUC.value([scores], MANY) == pytest.approx(roc_auc_score(MANY, MARKS))
    assert MAP.value([scores], MANY) == pytest.approx(average_precision_score(MANY, MARKS))
    wanted = f1_score(MANY, MARKS > 0, average="macro")
    assert F1.value([scores], MANY) == pytest.approx(wanted)


@pytest.mark.parametrize("decimals", [0, 1])
def test_equal_scores_are_no_order(decimals):
    coarse = np.round(MARKS, decimals)
    assert AUC.value([coarse], MANY) == pytest.approx(roc_auc_score(MANY, coarse))
    assert MAP.value([coarse], MANY) == pytest.approx(average_precision_score(MANY, coarse))
    same = np.zeros((COUNT, 1))
    assert AUC.value([same], TWO) == 0.5
    assert MAP.value([same], TWO) == pytest.approx(TWO.mean())


def test_a_class_without_samples_is_left_out_and_one_class_alone_is_refused():
    few = LABELS % 3
    wanted = np.mean([roc_auc_score(few == k, PROBABILITIES[:, k]) for k in range(3)])
    assert AUC.value([LOGITS], few) == pytest.approx(wanted)
    with pytest.raises(DataError, match=r"auc is nan on 200 samples.* too few samples of a class"):
        AUC.value([LOGITS], np.zeros(COUNT, np.int64))


def test_a_set_of_few_samples_has_an_interval_though_some_draws_lack_a_class():
    score = AUC.score([LEAD[:6]], np.array([0, 0, 0, 0, 1, 1]))
    low, high = score.interval
    assert 0 <= low <= score.value <= high <= 1
