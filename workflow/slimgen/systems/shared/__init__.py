"""Stages that every system shares: data, classifier, teacher, evaluation."""
